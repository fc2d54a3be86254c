//! The processes that the demo has started, and their end.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One place for each server, with the process that runs in it, if one does.
///
/// Shared with the panic hook: nothing here may panic, least of all while it holds the lock.
#[derive(Debug)]
pub(super) struct Children {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    places: Vec<Option<Child>>,
    /// Everything was ended: nothing may be started any more, whoever is still at it.
    closed: bool,
}

impl Children {
    pub(super) fn new(count: usize) -> Self {
        let places = std::iter::repeat_with(|| None).take(count).collect();
        Self { inner: Mutex::new(Inner { places, closed: false }) }
    }

    /// Starts a process in a place whose last one has ended.
    pub(super) fn start(&self, place: usize, command: &mut Command) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(io::Error::other("the demo is ending"));
        }
        let place = inner.places.get_mut(place).ok_or(io::ErrorKind::NotFound)?;
        if let Some(child) = place
            && child.try_wait()?.is_none()
        {
            return Err(io::Error::other("it runs already"));
        }
        *place = Some(command.spawn()?);
        Ok(())
    }

    /// Ends one with SIGKILL and waits until it is gone. Does nothing if it has ended.
    pub(super) fn kill(&self, place: usize) -> io::Result<()> {
        let mut inner = self.lock();
        let Some(Some(child)) = inner.places.get_mut(place) else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The process in a place, running or not.
    pub(super) fn pid(&self, place: usize) -> Option<u32> {
        Some(self.lock().places.get(place)?.as_ref()?.id())
    }

    /// How the process in a place ended, `None` if it runs or none was started.
    pub(super) fn ended(&self, place: usize) -> Option<ExitStatus> {
        self.lock().places.get_mut(place)?.as_mut()?.try_wait().ok().flatten()
    }

    /// Ends all of them and waits until they are gone. Nothing can be started afterwards.
    ///
    /// With SIGKILL: the servers of a demo keep nothing that an orderly end would save, and nothing
    /// may be left over.
    pub(super) fn end_all(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        // All are told first, so that they end side by side.
        for child in inner.places.iter_mut().flatten() {
            let _ended_already = child.kill();
        }
        for child in inner.places.iter_mut().flatten() {
            let _gone = child.wait();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_and_nothing_starts_after_the_end() {
        let children = Children::new(2);
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("600");
            command
        };
        children.start(0, &mut sleep()).unwrap();
        children.start(1, &mut sleep()).unwrap();
        assert!(children.start(0, &mut sleep()).is_err(), "it runs already");
        assert!(children.ended(0).is_none());
        children.kill(0).unwrap();
        children.kill(0).unwrap();
        assert!(children.ended(0).is_some() && children.ended(1).is_none());
        children.start(0, &mut sleep()).unwrap();
        children.end_all();
        assert!(children.ended(0).is_some() && children.ended(1).is_some());
        assert!(children.start(0, &mut sleep()).is_err());
    }
}
