//! Iceberg REST: configuration, namespaces, pages, tokens, and who is let in.

use serde_json::{Value, json};
use tarn_core::Role;

use crate::iceberg_client::{Catalog, mart};
use crate::world::{PASSWORD, World};

#[tokio::test]
async fn the_configuration_lists_endpoints_that_answer() {
    let (_world, catalog) = mart().await;
    let config = catalog.get("config?warehouse=lake").await.ok();
    assert_eq!(config["defaults"], json!({ "s3.region": "moon-1" }));
    assert_eq!(config["overrides"], json!({}));
    let endpoints = config["endpoints"].as_array().unwrap();
    for needed in ["GET /v1/{prefix}/namespaces", "POST /v1/{prefix}/transactions/commit"] {
        assert!(endpoints.contains(&json!(needed)), "{config}");
    }
    catalog.create_view("v").await;
    for endpoint in endpoints {
        let (method, path) = endpoint.as_str().unwrap().split_once(" /v1/").unwrap();
        let path = path.replace("{namespace}", "mart").replace("{table}", "a").replace("{view}", "v");
        for path in [path.replace("{prefix}/", ""), path.replace("{prefix}", "lake")] {
            if method == "DELETE" || path.ends_with("/unregister") {
                continue;
            }
            let answer = catalog.send(method, &path).await;
            let is_unknown = answer.text().contains("this catalog has no endpoint");
            assert!(answer.status != 405 && answer.status != 404 && !is_unknown, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_unknown_endpoint_is_told_in_the_shape_of_the_protocol() {
    let (_world, catalog) = mart().await;
    for (method, path) in [
        ("GET", "nope"),
        ("GET", "namespaces/mart/functions"),
        ("PUT", "namespaces"),
        ("PATCH", "namespaces/mart/tables/a"),
        ("GET", "transactions/commit"),
    ] {
        let message = catalog.send(method, path).await.refused_by_catalog(404, "NotFoundException");
        assert!(message.contains(method) && message.contains(path), "{message}");
    }
    catalog.0.get("/iceberg/v9/config").await.refused_by_catalog(404, "NotFoundException");
}

#[tokio::test]
async fn a_namespace_is_made_once_read_changed_and_dropped_when_it_is_empty() {
    let (_world, catalog) = mart().await;
    let body = json!({ "namespace": ["shop"], "properties": { "owner": "li", "note": "x" } });
    assert_eq!(catalog.post("namespaces", &body).await.ok(), body);
    let again = catalog.post("namespaces", &body).await;
    again.refused_by_catalog(409, "AlreadyExistsException");
    assert_eq!(catalog.get("namespaces/shop").await.ok(), body);
    let change = json!({ "removals": ["note", "absent"], "updates": { "owner": "wang" } });
    let changed = catalog.post("namespaces/shop/properties", &change).await.ok();
    assert_eq!(changed, json!({ "updated": ["owner"], "removed": ["note"], "missing": ["absent"] }));
    assert_eq!(catalog.get("namespaces/shop").await.ok()["properties"], json!({ "owner": "wang" }));
    let both = json!({ "removals": ["owner"], "updates": { "owner": "zhao" } });
    let answer = catalog.post("namespaces/shop/properties", &both).await;
    answer.refused_by_catalog(422, "UnprocessableEntityException");
    let full = catalog.send("DELETE", "namespaces/mart").await;
    full.refused_by_catalog(409, "NamespaceNotEmptyException");
    catalog.send("DELETE", "namespaces/shop").await.done();
    catalog.get("namespaces/shop").await.refused_by_catalog(404, "NoSuchNamespaceException");
    catalog.send("DELETE", "namespaces/shop").await.refused_by_catalog(404, "NoSuchNamespaceException");
    let gone = catalog.post("namespaces/shop/properties", &change).await;
    gone.refused_by_catalog(404, "NoSuchNamespaceException");
}

#[tokio::test]
async fn existence_is_told_by_the_status_alone() {
    let (_world, catalog) = mart().await;
    for (path, status) in [
        ("namespaces/mart", 204),
        ("namespaces/none", 404),
        ("namespaces/mart/tables/a", 204),
        ("namespaces/mart/tables/none", 404),
        ("namespaces/none/tables/a", 404),
    ] {
        let answer = catalog.send("HEAD", path).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{path}");
    }
}

#[tokio::test]
async fn names_that_cannot_be_are_bad_requests_and_deeper_ones_do_not_exist() {
    let (_world, catalog) = mart().await;
    for bad in
        [json!([]), json!(["a", "b"]), json!([""]), json!(["a.b"]), json!(["../x"]), json!(["a\u{1F}b"])]
    {
        let answer = catalog.post("namespaces", &json!({ "namespace": bad })).await;
        answer.refused_by_catalog(400, "BadRequestException");
    }
    catalog.post("namespaces", &json!({ "name": "x" })).await.refused_by_catalog(400, "BadRequestException");
    catalog.get("namespaces/a%1Fb").await.refused_by_catalog(404, "NoSuchNamespaceException");
    let files = catalog.get("namespaces/mart%1Fa/tables/files").await;
    files.refused_by_catalog(404, "NoSuchTableException");
}

/// All names over all pages of a list, and how many pages there were.
async fn pages(catalog: &Catalog, path: &str, member: &str, size: usize) -> (Vec<String>, usize) {
    let (mut names, mut token, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let page = catalog.get(&format!("{path}?pageToken={token}&pageSize={size}")).await.ok();
        let part = page[member].as_array().unwrap();
        assert!(part.len() <= size, "{page}");
        names.extend(part.iter().map(|one| match one {
            Value::Array(levels) => levels[0].as_str().unwrap().to_string(),
            other => other["name"].as_str().unwrap().to_string(),
        }));
        count += 1;
        match page.get("next-page-token") {
            Some(next) => token = next.as_str().unwrap().to_string(),
            None => return (names, count),
        }
    }
}

#[tokio::test]
async fn pages_hold_every_name_once() {
    let (_world, catalog) = mart().await;
    for name in ["n3", "n1", "n2", "n4"] {
        catalog.create_namespace(name).await;
        catalog.create_table(name).await;
    }
    let namespaces = ["mart", "n1", "n2", "n3", "n4"];
    let tables = ["a", "b", "n1", "n2", "n3", "n4"];
    for (size, of_namespaces, of_tables) in [(1, 5, 6), (2, 3, 3), (5, 1, 2), (100, 1, 1)] {
        let listed = pages(&catalog, "namespaces", "namespaces", size).await;
        assert_eq!(listed, (namespaces.map(str::to_string).to_vec(), of_namespaces), "{size}");
        let listed = pages(&catalog, "namespaces/mart/tables", "identifiers", size).await;
        assert_eq!(listed, (tables.map(str::to_string).to_vec(), of_tables), "{size}");
    }
    // A client that knows no pages gets everything.
    let all = catalog.get("namespaces?pageSize=1").await.ok();
    assert_eq!(all["namespaces"].as_array().unwrap().len(), 5);
    assert!(all.get("next-page-token").is_none(), "{all}");
    let foreign = catalog.get("namespaces?pageToken=%21%21").await;
    foreign.refused_by_catalog(400, "BadRequestException");
    assert_eq!(catalog.get("namespaces?parent=mart").await.ok()["namespaces"], json!([]));
    let none = catalog.get("namespaces?parent=none").await;
    none.refused_by_catalog(404, "NoSuchNamespaceException");
}

#[tokio::test]
async fn every_endpoint_asks_who_calls_and_writing_ones_for_an_editor() {
    let world = World::start().await;
    let people = world.people().await;
    let (nobody, viewer) = (Catalog(people.nobody.clone()), Catalog(people.viewer.clone()));
    let editor = Catalog(people.editor.clone());
    editor.create_namespace("mart").await;
    editor.create_table("a").await;
    editor.create_view("v").await;
    let config = nobody.get("config").await;
    config.refused_by_catalog(401, "NotAuthorizedException");
    assert_eq!(config.header("www-authenticate"), "Bearer");
    let endpoints = viewer.get("config").await.ok()["endpoints"].clone();
    let mut refused = 0;
    for endpoint in endpoints.as_array().unwrap() {
        let (method, path) = endpoint.as_str().unwrap().split_once(" /v1/").unwrap();
        let path = path.replace("{prefix}/", "").replace("{namespace}", "mart");
        let path = path.replace("{table}", "a").replace("{view}", "v");
        let answer = nobody.send(method, &path).await;
        assert_eq!(answer.status, 401, "{method} {path}");
        if method != "HEAD" {
            answer.refused_by_catalog(401, "NotAuthorizedException");
        }
        let reads = matches!(method, "GET" | "HEAD") || path.ends_with("/metrics") || path.ends_with("/sign");
        let answer = viewer.send(method, &path).await;
        match reads {
            true => {
                assert!(answer.status != 401 && answer.status != 403, "{method} {path}: {}", answer.status)
            }
            false => {
                answer.refused_by_catalog(403, "ForbiddenException");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 15);
    assert!(editor.get("namespaces/mart/tables/a").await.status == 200, "nothing was dropped");
    nobody.get("nope").await.refused_by_catalog(404, "NotFoundException");
}

#[tokio::test]
async fn a_token_is_given_for_a_password_or_a_key() {
    let world = World::start().await;
    world.add_user("main", "ada", Role::Admin).await;
    let key = world.key("main", "writing", Role::Editor).await;
    let caller = world.caller();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let tokens = "/iceberg/v1/oauth/tokens";
    let ask = async |body: String| caller.send_bytes("POST", tokens, &form, body).await;
    let password = PASSWORD.replace(' ', "+");
    let by_password =
        ask(format!("grant_type=client_credentials&client_id=ada&client_secret={password}&scope=catalog"))
            .await
            .ok();
    assert_eq!(by_password["token_type"], "bearer");
    assert!(by_password["expires_in"].as_u64().unwrap() > 3_600);
    let (id, secret) = key.strip_prefix("tarn_").unwrap().split_once('_').unwrap();
    let halves =
        ask(format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")).await.ok();
    let whole = ask(format!("grant_type=client_credentials&client_secret={key}")).await.ok();
    for token in [&by_password, &halves, &whole] {
        let token = token["access_token"].as_str().unwrap();
        Catalog(caller.with_key(token)).get("config").await.ok();
        let exchange = "urn:ietf:params:oauth:grant-type:token-exchange".replace(':', "%3A");
        let again = ask(format!("grant_type={exchange}&subject_token={token}")).await.ok();
        assert_eq!(again["access_token"], token);
    }
    let session = by_password["access_token"].as_str().unwrap();
    assert_eq!(caller.with_key(session).get("/api/v1/session").await.ok()["user"], "ada");
    for (body, status, error) in [
        ("grant_type=client_credentials&client_id=ada&client_secret=wrong", 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=ada", 400, "invalid_request"),
        ("grant_type=password&username=ada", 400, "unsupported_grant_type"),
        ("nonsense", 400, "invalid_request"),
    ] {
        let answer = ask(body.to_string()).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{body}");
    }
}
