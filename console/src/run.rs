//! `logweir run`: the reader and all appliers as child processes of one terminal.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::config::Pipeline;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::RunArgs;
use crate::exit::{Exit, Failure};
use crate::observe::observe;
use crate::part::Part;
use crate::{check, out};

mod child;
pub(crate) mod live;

use child::{Child, Event};
use live::Live;

/// The first pause before a crashed service is started again; it doubles up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A service that ran for so long begins anew with the first pause.
const STEADY: Duration = Duration::from_secs(60);
/// How long the services may take to finish the transaction in hand.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// Runs a pipeline until Ctrl-C or SIGTERM, or until none of its services runs or will be restarted.
pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let path = &args.config.config;
    let pipeline = Pipeline::load(path)?;
    if args.check_config {
        out::line(&format!("{}: ok", path.display()))?;
        return Ok(Exit::Done);
    }
    if args.print_config {
        out::bytes(pipeline.to_toml().as_bytes())?;
        return Ok(Exit::Done);
    }
    for warning in &pipeline.warnings {
        eprintln!("warning: {warning}");
    }
    if !args.no_check {
        check::before_start(&pipeline).await?;
    }
    let live = Live::new(args.plain || !std::io::stderr().is_terminal());
    Ok(supervise(&pipeline, path, &live).await?)
}

/// A service and what is to become of it.
struct Supervised {
    part: Part,
    state: Lifecycle,
    backoff: Duration,
    started: Instant,
}

enum Lifecycle {
    Running(Child),
    Waiting { until: Instant },
    Stopped(Exit),
}

async fn supervise(pipeline: &Pipeline, config: &Path, live: &Live) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt()).context("while listening for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("while listening for SIGTERM")?;
    let (events, mut received) = mpsc::channel(256);
    let mut services = Vec::new();
    for (index, part) in Part::all(pipeline).into_iter().enumerate() {
        let child = Child::start(index, &part, config, events.clone())?;
        services.push(Supervised {
            part,
            state: Lifecycle::Running(child),
            backoff: BACKOFF.0,
            started: Instant::now(),
        });
    }
    live.line(&format!("pipeline {}: {} services started; Ctrl-C stops them", pipeline.name, services.len()));
    let mut draw = tokio::time::interval(DRAW_EVERY);
    draw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(event) = received.recv() => {
                handle(event, &mut services, live);
                if services.iter().all(|s| matches!(s.state, Lifecycle::Stopped(_))) {
                    live.finish();
                    return Ok(worst(&services));
                }
            }
            _ = draw.tick() => {
                restart_due(&mut services, config, &events, live)?;
                live.draw(&observe(pipeline, false).await);
            }
        }
    }
    live.line("stopping: each service finishes its transaction in hand");
    stop(&mut services, &mut received, live).await;
    live.finish();
    Ok(worst(&services))
}

fn handle(event: Event, services: &mut [Supervised], live: &Live) {
    match event {
        Event::Line(line) => live.line(&line),
        Event::Ended { index, exit, how } => {
            let Some(service) = services.get_mut(index) else { return };
            service.state = match exit {
                // These need somebody; a restart would only repeat them. 0 is a service that was told to stop.
                Some(exit @ (Exit::Done | Exit::Usage | Exit::Damaged | Exit::Differ)) => {
                    live.line(&format!("{} stopped ({how}) and stays so", service.part));
                    Lifecycle::Stopped(exit)
                }
                _ => {
                    if service.started.elapsed() > STEADY {
                        service.backoff = BACKOFF.0;
                    }
                    let pause = service.backoff;
                    service.backoff = (pause * 2).min(BACKOFF.1);
                    live.line(&format!("{} ended ({how}); it is started again in {pause:?}", service.part));
                    Lifecycle::Waiting { until: Instant::now() + pause }
                }
            };
        }
    }
}

fn restart_due(
    services: &mut [Supervised],
    config: &Path,
    events: &mpsc::Sender<Event>,
    live: &Live,
) -> anyhow::Result<()> {
    for (index, service) in services.iter_mut().enumerate() {
        if matches!(service.state, Lifecycle::Waiting { until } if until <= Instant::now()) {
            live.line(&format!("{} is started again", service.part));
            service.state = Lifecycle::Running(Child::start(index, &service.part, config, events.clone())?);
            service.started = Instant::now();
        }
    }
    Ok(())
}

async fn stop(services: &mut [Supervised], received: &mut mpsc::Receiver<Event>, live: &Live) {
    for service in services.iter_mut() {
        match &service.state {
            Lifecycle::Running(child) => child.terminate(),
            Lifecycle::Waiting { .. } => service.state = Lifecycle::Stopped(Exit::Failed),
            Lifecycle::Stopped(_) => {}
        }
    }
    let deadline = tokio::time::Instant::now() + STOP_LIMIT;
    while services.iter().any(|s| matches!(s.state, Lifecycle::Running(_))) {
        match tokio::time::timeout_at(deadline, received.recv()).await {
            Ok(Some(Event::Line(line))) => live.line(&line),
            Ok(Some(Event::Ended { index, exit, how })) => {
                if let Some(service) = services.get_mut(index) {
                    live.line(&format!("{} ended ({how})", service.part));
                    service.state = Lifecycle::Stopped(exit.unwrap_or(Exit::Failed));
                }
            }
            Ok(None) | Err(_) => {
                // What is killed here loses nothing: that is what the log is for.
                live.line(&format!("not all services ended within {STOP_LIMIT:?}; the rest is killed"));
                for service in services.iter_mut() {
                    if let Lifecycle::Running(child) = &service.state {
                        child.kill();
                        service.state = Lifecycle::Stopped(Exit::Failed);
                    }
                }
            }
        }
    }
}

/// The exit code that says most: damage and divergence before a failure.
fn worst(services: &[Supervised]) -> Exit {
    let exits = services.iter().map(|s| match s.state {
        Lifecycle::Stopped(exit) => exit,
        _ => Exit::Done,
    });
    exits.max().unwrap_or(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(exit: Exit) -> Supervised {
        let state = Lifecycle::Waiting { until: Instant::now() };
        let mut all = [Supervised { part: Part::Reader, state, backoff: BACKOFF.0, started: Instant::now() }];
        handle(Event::Ended { index: 0, exit: Some(exit), how: String::new() }, &mut all, &Live::new(true));
        let [service] = all;
        service
    }

    #[test]
    fn only_what_can_heal_itself_is_started_again() {
        for exit in [Exit::Done, Exit::Usage, Exit::Damaged, Exit::Differ] {
            assert!(matches!(service(exit).state, Lifecycle::Stopped(e) if e == exit), "{exit:?}");
        }
        for exit in [Exit::Failed, Exit::TimedOut] {
            assert!(matches!(service(exit).state, Lifecycle::Waiting { .. }), "{exit:?}");
        }
    }

    #[test]
    fn the_pause_before_a_restart_doubles_up_to_its_limit() {
        let mut all = [service(Exit::Failed)];
        for _ in 0..10 {
            handle(Event::Ended { index: 0, exit: None, how: String::new() }, &mut all, &Live::new(true));
        }
        assert_eq!(all[0].backoff, BACKOFF.1);
    }
}
