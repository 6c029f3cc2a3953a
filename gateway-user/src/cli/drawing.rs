//! Looks that are drawn one over the other until somebody ends it.

use super::args::Format;
use super::{CliError, output};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether looks are drawn: for people at a terminal who did not ask for one only.
#[must_use]
pub fn is_drawn(format: Format, once: bool) -> bool {
    matches!(format, Format::Table | Format::Wide) && output::to_terminal() && !once
}

/// A screen on which looks are drawn.
pub struct Drawing {
    screen: output::Screen,
    interrupt: Signal,
    terminate: Signal,
}

impl Drawing {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Where it cannot be written, or signals not be heard.
    pub fn begin() -> Result<Drawing, CliError> {
        let interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
        let terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
        let screen = output::Screen::enter()?;
        screen.draw("looking …\n")?;
        Ok(Drawing { screen, interrupt, terminate })
    }

    /// Waits until the next look is due; false if it is the end.
    pub async fn pause(&mut self, interval: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(interval) => true,
            _ = self.interrupt.recv() => false,
            _ = self.terminate.recv() => false,
        }
    }

    /// How many lines fit beside so many others.
    #[must_use]
    pub fn fitting(&self, others: usize) -> usize {
        self.screen.rows().saturating_sub(others).max(1)
    }

    /// Shows a look in place of the one before.
    ///
    /// # Errors
    /// Where the terminal cannot be written.
    pub fn draw(&self, text: &str) -> Result<(), CliError> {
        self.screen.draw(text)
    }
}
