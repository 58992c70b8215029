use std::os::unix::fs::PermissionsExt;

use super::*;

async fn served(path: &Path) -> Served {
    serve(path, |request| async move {
        match request {
            Request::Status => Answer::Reader(Box::new(ReaderStatus { pipeline: "shop".into(), ..Default::default() })),
            Request::Stop => Answer::Refused { reason: "busy".into() },
            _ => Answer::Done,
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn each_request_gets_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = reader_socket(dir.path());
    let _served = served(&path).await;
    let Answer::Reader(status) = request(&path, Request::Status).await.unwrap() else { panic!("another answer") };
    assert_eq!(status.pipeline, "shop");
    assert_eq!(request(&path, Request::Pause).await.unwrap(), Answer::Done);
    assert_eq!(request(&path, Request::Stop).await.unwrap(), Answer::Refused { reason: "busy".into() });
}

#[tokio::test]
async fn only_the_owner_can_reach_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = applier_socket(dir.path(), "replica");
    let _served = served(&path).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = reader_socket(dir.path());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // As after kill -9: the file is there, and nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(request(&path, Request::Status).await, Err(ControlError::NotRunning { .. })));
    let first = served(&path).await;
    let second = serve(&path, |_| async { Answer::Done }).await;
    assert!(matches!(second, Err(ControlError::Taken { .. })));
    assert!(request(&path, Request::Status).await.is_ok());
    drop(first);
    assert!(!path.exists());
    assert!(matches!(request(&path, Request::Status).await, Err(ControlError::NotRunning { .. })));
}

#[tokio::test]
async fn a_path_beyond_the_systems_limit_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = reader_socket(&dir.path().join("d".repeat(120)));
    let _served = served(&path).await;
    assert!(request(&path, Request::Status).await.is_ok());
}

#[tokio::test]
async fn nonsense_is_refused_and_a_silent_client_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = reader_socket(dir.path());
    let _served = served(&path).await;
    let _silent = UnixStream::connect(&path).await.unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"{\"request\":\"format_disk\"}\n").await.unwrap();
    let mut line = String::new();
    stream.read_to_string(&mut line).await.unwrap();
    assert!(line.contains("refused") && line.contains("not a request"), "{line}");
    assert!(request(&path, Request::Status).await.is_ok());
}

#[tokio::test]
async fn the_last_word_of_a_service_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = reader_socket(dir.path());
    let served = served(&path).await;
    assert_eq!(read_note(&path), None);
    let note = StopNote { exit_code: 3, reason: "segment 7 is damaged".into(), at_us: 5 };
    leave_note(&path, &note).unwrap();
    drop(served);
    assert_eq!(read_note(&path), Some(note));
}
