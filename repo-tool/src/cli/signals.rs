//! Waits for a duration or a signal, for commands that run until they are stopped.

use std::cell::OnceCell;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use lastmile_cli_support::Wait;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::child;

struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn receive() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(inside);
        Ok(Self { runtime, interrupt, terminate })
    }

    fn wait(&mut self, duration: Duration) -> ControlFlow<()> {
        let Self { runtime, interrupt, terminate } = self;
        runtime.block_on(async {
            tokio::select! {
                // Poll the signals first, so that a signal that arrived earlier is not missed, even if `duration` is 0.
                biased;
                _ = interrupt.recv() => ControlFlow::Break(()),
                _ = terminate.recv() => ControlFlow::Break(()),
                () = tokio::time::sleep(duration.max(SHORTEST)) => ControlFlow::Continue(()),
            }
        })
    }
}

/// The minimum duration of a wait. A wait of zero would not give the runtime time to notice signals.
const SHORTEST: Duration = Duration::from_millis(1);

/// The time between a signal and the end of the process, in which the command can finish its work.
const GRACE: Duration = Duration::from_secs(5);

/// Ends the process 5 seconds after SIGINT or SIGTERM, for commands whose work may take a long time and can be
/// interrupted at any time. If no signal handlers can be installed, the signals end the process at once.
pub(super) fn exit_after_signal(runtime: &Runtime) {
    let inside = runtime.enter();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    drop(inside);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::time::sleep(GRACE).await;
        child::end_running();
        std::process::exit(0);
    });
}

/// Returns a function that waits until a duration has passed or the user stops the program with SIGINT or SIGTERM. From
/// the first call on, these signals no longer end the process. If a signal arrives between two calls, the second call
/// returns immediately. The work between the calls is not interrupted.
#[must_use]
pub fn wait_for_signals() -> Wait {
    let signals = std::cell::RefCell::new(OnceCell::<Signals>::new());
    Box::new(move |duration| {
        let mut signals = signals.borrow_mut();
        if signals.get().is_none() {
            // If no signal handlers can be installed, the signals still end the process at once.
            match Signals::receive() {
                Ok(received) => drop(signals.set(received)),
                Err(_) => {
                    std::thread::sleep(duration);
                    return ControlFlow::Continue(());
                }
            }
        }
        signals.get_mut().map_or(ControlFlow::Break(()), |signals| signals.wait(duration))
    })
}
