//! The terminal while the table is shown, and its return to what it was, whatever happens.

use super::table::{Line, Look};
use anyhow::Context as _;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, ClearType};
use crossterm::{cursor, execute, queue};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Whether the terminal is ours and must be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    /// What stands there, so that only what differs is written: no flicker, little traffic.
    shown: Vec<Line>,
    size: (u16, u16),
}

impl Screen {
    pub(super) fn take() -> anyhow::Result<Self> {
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self { shown: Vec::new(), size: (0, 0) };
        terminal::enable_raw_mode().context("cannot take over the terminal")?;
        let mut out = io::stdout();
        execute!(out, terminal::EnterAlternateScreen, cursor::Hide, terminal::DisableLineWrap)
            .context("cannot take over the terminal")?;
        Ok(screen)
    }

    /// Shows the lines that `draw` makes for so many columns and rows.
    pub(super) fn show(&mut self, draw: impl FnOnce(usize, usize) -> Vec<Line>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, terminal::BeginSynchronizedUpdate)?;
        let size = terminal::size().unwrap_or((80, 24));
        if size != self.size {
            queue!(out, terminal::Clear(ClearType::All))?;
            self.shown.clear();
            self.size = size;
        }
        let lines = draw(size.0.into(), size.1.into());
        let height = lines.len().max(self.shown.len());
        let nothing = Line::default();
        for (y, index) in (0..=u16::MAX).zip(0..height) {
            let line = lines.get(index).unwrap_or(&nothing);
            if self.shown.get(index) != Some(line) {
                queue!(out, cursor::MoveTo(0, y))?;
                write_line(&mut out, line)?;
                // After a line that fills the row the cursor stands on its last character.
                if line.width() < usize::from(size.0) {
                    queue!(out, terminal::Clear(ClearType::UntilNewLine))?;
                }
            }
        }
        queue!(out, terminal::EndSynchronizedUpdate)?;
        out.flush()?;
        self.shown = lines;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was, if it was taken. For the panic hook too.
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        // If the terminal is gone there is nothing to give back.
        let _gone = execute!(
            out,
            ResetColor,
            SetAttribute(Attribute::Reset),
            terminal::EnableLineWrap,
            cursor::Show,
            terminal::LeaveAlternateScreen
        );
        let _gone = terminal::disable_raw_mode();
    }
}

fn write_line(out: &mut impl io::Write, line: &Line) -> io::Result<()> {
    for (look, text) in &line.0 {
        // Text of others, such as names of places, must not move the cursor.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match look {
            Look::Plain => {}
            Look::Dim => queue!(out, SetAttribute(Attribute::Dim))?,
            Look::Bold => queue!(out, SetAttribute(Attribute::Bold))?,
            Look::Good => queue!(out, SetForegroundColor(Color::Green))?,
            Look::Busy => queue!(out, SetForegroundColor(Color::Yellow))?,
            Look::Bad => queue!(out, SetForegroundColor(Color::Red))?,
        }
        queue!(out, Print(text), ResetColor, SetAttribute(Attribute::Reset))?;
    }
    Ok(())
}

/// What somebody at the keyboard wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Kill,
    Restart,
    /// The server so many places on.
    Server(isize),
    /// The person so many lines on.
    Person(isize),
    /// The link so many places on.
    Link(isize),
    /// Cut the link, or mend it.
    Cut,
    /// Nothing, but the terminal has another size.
    Resize,
}

/// Reads the keyboard until nobody listens. On a thread of its own: the terminal has no other way to
/// be waited for, and the thread ends with the program.
pub(super) fn listen(keys: mpsc::Sender<Key>) {
    std::thread::spawn(move || {
        while !keys.is_closed() {
            let ready = event::poll(Duration::from_millis(250));
            let event = match ready {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // A keyboard that cannot be read any more has hung up.
            let key = event.map_or(Some(Key::Quit), |event| meaning(&event));
            if let Some(key) = key
                && keys.blocking_send(key).is_err()
            {
                return;
            }
        }
    });
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other keys mean nothing here")]
fn meaning(event: &Event) -> Option<Key> {
    let key = match event {
        Event::Resize(..) => return Some(Key::Resize),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('k') => Some(Key::Kill),
        KeyCode::Char('r') => Some(Key::Restart),
        KeyCode::Char('l') => Some(Key::Link(1)),
        KeyCode::Char('L') => Some(Key::Link(-1)),
        KeyCode::Char('c') => Some(Key::Cut),
        KeyCode::Left | KeyCode::BackTab => Some(Key::Server(-1)),
        KeyCode::Right | KeyCode::Tab => Some(Key::Server(1)),
        KeyCode::Up => Some(Key::Person(-1)),
        KeyCode::Down => Some(Key::Person(1)),
        KeyCode::PageUp => Some(Key::Person(-10)),
        KeyCode::PageDown => Some(Key::Person(10)),
        _ => None,
    }
}
