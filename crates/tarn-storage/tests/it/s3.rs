//! The contract on a real S3 server: moto, from PyPI, in `~/.cache/tarn/venv`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use object_store::path::Path;
use tarn_component::Secret;
use tarn_core::{Fault, FaultKind};
use tarn_storage::{StorageConfig, Store};

use crate::contract::check_store;

const MOTO: &str = "moto[server,s3]==5.1.4";

/// A running server; it ends with this value.
struct Moto {
    process: Child,
    port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's program, installed once; `None` without Python or network, which the caller says.
fn moto_program() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let venv = home.join(".cache/tarn/venv");
    let program = venv.join("bin/moto_server");
    if program.exists() {
        return Some(program);
    }
    let run =
        |command: &mut Command| command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let made = venv.join("bin/pip").exists() || run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let installed = made && run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", MOTO]));
    (installed && program.exists()).then_some(program)
}

async fn start_moto() -> Option<Moto> {
    let program = moto_program()?;
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let process = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let server = Moto { process, port };
    for _ in 0..300 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Some(server);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("moto does not answer on port {port}");
}

fn config(port: u16, url: &str) -> StorageConfig {
    StorageConfig {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key_id: Some("test".to_string()),
        secret_access_key: Some(Secret::new("test")),
        allow_http: true,
        ..StorageConfig::at(url)
    }
}

/// Makes a bucket by the plain protocol; the store itself never makes one.
async fn make_bucket(port: u16, bucket: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("answers");
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20240101/us-east-1/s3/aws4_request, SignedHeaders=host, \
         Signature=0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract() {
    let Some(server) = start_moto().await else {
        assert!(
            std::env::var_os("TARN_TEST_SERVICES").is_none(),
            "TARN_TEST_SERVICES is set, but moto is missing"
        );
        println!("skipped: moto could not be installed into ~/.cache/tarn/venv");
        return;
    };
    make_bucket(server.port, "lake").await;
    for url in ["s3://lake", "s3://lake/tenants/main"] {
        let store = Store::open(&config(server.port, url), std::path::Path::new("/")).expect("opens");
        check_store(&store).await;
    }
    let missing =
        Store::open(&config(server.port, "s3://no-such-bucket"), std::path::Path::new("/")).expect("opens");
    let error = missing.check(false).await.expect_err("no bucket");
    assert_eq!(error.kind(), FaultKind::NotFound, "{error:?}");
    assert!(format!("{:?}", config(1, "s3://lake")).contains("Some((secret))"), "keys are not printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let store = Store::open(&config(port, "s3://lake"), std::path::Path::new("/")).expect("opens");
    let error = store.get(&Path::from("x")).await.expect_err("no server");
    assert_eq!(error.kind(), FaultKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("s3://lake/x"), "{error}");
}
