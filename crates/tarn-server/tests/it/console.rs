//! Files of the console.

use crate::answer::{Answer, converse};
use crate::world::World;

const SECURITY: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn is_sealed(answer: &Answer, path: &str) {
    for (name, value) in SECURITY {
        assert_eq!(answer.header(name), value, "{path}: {name}");
    }
    let policy = answer.header("content-security-policy");
    for rule in [
        "default-src 'self'",
        "script-src 'self';",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
    ] {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe-eval"), "{policy}");
}

/// Paths of the files that the page names.
fn files_of(page: &str) -> Vec<String> {
    page.split('"')
        .filter(|part| {
            part.starts_with('/') && part.rsplit('/').next().is_some_and(|name| name.contains('.'))
        })
        .map(str::to_string)
        .collect()
}

#[tokio::test]
async fn every_page_of_the_console_is_answered_with_its_index() {
    let world = World::start().await;
    let caller = world.caller();
    let index = caller.get("/").await;
    let text = index.text();
    assert!(
        text.to_lowercase().starts_with("<!doctype html>") && text.contains("<title>Tarn</title>"),
        "{text}"
    );
    for path in ["/", "/sources", "/sources/shop", "/tables/shop/orders?tab=files", "/sql", "/no/such/page"] {
        let page = caller.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert_eq!(page.text(), text, "{path}");
        // The page names the files of its build; a binary without the console says so on every path.
        let kept = if files_of(text).is_empty() { "no-store" } else { "no-cache" };
        assert_eq!(page.header("cache-control"), kept, "{path}");
        is_sealed(&page, path);
    }
}

#[tokio::test]
async fn a_page_whose_last_part_has_a_dot_is_a_page_too() {
    let world = World::start().await;
    let caller = world.caller();
    let index = caller.get("/").await;
    // Every topic is named `source.table`, and the list of faults links to these pages.
    for path in ["/topics/shop.orders", "/topics/shop.public.orders?tab=rows"] {
        let page = caller.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert_eq!(page.text(), index.text(), "{path}");
    }
}

#[tokio::test]
async fn files_are_typed_kept_and_asked_for_again_by_their_tag() {
    let world = World::start().await;
    let caller = world.caller();
    let files = files_of(caller.get("/").await.text());
    for path in files.iter().filter(|path| path.starts_with("/assets/") || path.as_str() == "/favicon.svg") {
        let file = caller.get(path).await;
        assert_eq!(file.status, 200, "{path}");
        let kind = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(file.header("content-type"), kind, "{path}");
        let lasting =
            if path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        assert_eq!(file.header("cache-control"), lasting, "{path}");
        is_sealed(&file, path);
        let again = caller.with("if-none-match", file.header("etag")).get(path).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(caller.with("if-none-match", "\"other\"").get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_missing_file_is_not_answered_with_the_page() {
    let world = World::start().await;
    for path in ["/assets/index-00000000.js", "/assets/nope.css", "/robots.txt", "/.git/config.lock"] {
        world.caller().get(path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn the_console_can_only_be_read() {
    let world = World::start().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        world.caller().send(method, "/sources", None).await.refused(405, "invalid");
    }
    let head = world.caller().send("HEAD", "/sources", None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn no_path_leads_out_of_the_console() {
    let world = World::start().await;
    let address = world.server.http_addr.unwrap();
    for path in [
        "/../package.json",
        "/assets/../../package.json",
        "/%2e%2e/package.json",
        "/..%2fpackage.json",
        "//etc/passwd",
        "/assets/..%5c..%5cpackage.json",
        "/etc/passwd",
    ] {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = converse(address, &ask).await;
        assert!(!answer.contains("\"scripts\"") && !answer.contains("root:"), "{path}: {answer}");
        let is_page = answer.to_lowercase().contains("<!doctype html>");
        assert!(is_page || answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn large_files_are_sent_compressed_to_who_takes_it() {
    let world = World::start().await;
    let caller = world.caller();
    let plain = caller.get("/openapi.json").await;
    let packed = caller.with("accept-encoding", "gzip").get("/openapi.json").await;
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    assert!(packed.body.len() * 2 < plain.body.len());
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
}
