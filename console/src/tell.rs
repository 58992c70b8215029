//! `logweir pause` and `resume`.

use common::control::{self, Answer, ControlError, Request};

use crate::cli::TellArgs;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::part::{self, Part};

/// Sends the request to the services that are meant, and says what each answers. Fails if one of them does not do it.
pub(crate) async fn tell(args: TellArgs, request: Request) -> Result<Exit, Failure> {
    let pipeline = part::load_without_passwords(&args.config.config)?;
    let parts = match (&args.destination, args.reader) {
        (Some(name), _) => {
            part::destinations(&pipeline, Some(name))?;
            vec![Part::Applier(name.clone())]
        }
        (None, true) => vec![Part::Reader],
        (None, false) => Part::all(&pipeline),
    };
    let done = match request {
        Request::Pause => "paused",
        Request::Resume => "resumed",
        Request::Stop => "stopping",
        Request::Status | Request::Snapshot { .. } | Request::CancelSnapshot | Request::Tune { .. } => "done",
    };
    let mut exit = Exit::Done;
    for part in parts {
        let answer = control::request(&part.socket(&pipeline.store.dir), request.clone()).await;
        let text = match answer {
            Ok(Answer::Refused { reason }) => {
                exit = Exit::Failed;
                format!("refused: {reason}")
            }
            Ok(_) => done.to_owned(),
            Err(ControlError::NotRunning { .. }) => {
                exit = Exit::Failed;
                "not running".to_owned()
            }
            Err(error) => {
                exit = Exit::Failed;
                error.to_string()
            }
        };
        out::line(&format!("{part}: {text}"))?;
    }
    Ok(exit)
}
