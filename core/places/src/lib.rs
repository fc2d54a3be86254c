//! What is nearby: queries, answers, and one pure adapter per provider.
