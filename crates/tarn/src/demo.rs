//! The demo: the flights example, packed into this program.

use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;

use crate::cli::{Failure, io_failure};

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../examples/flights"]
struct Flights;

/// The folder of the demo: in the user's data folder, so that a second start goes on.
pub fn folder() -> PathBuf {
    let from =
        |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")));
    base.unwrap_or_else(std::env::temp_dir).join("tarn").join("demo")
}

/// Writes the example project into a folder, replacing files of another version. `speed`: simulated seconds per
/// second, or `max`.
pub fn unpack(project: &Path, speed: &str) -> Result<(), Failure> {
    for name in Flights::iter() {
        let Some(file) = Flights::get(&name) else { continue };
        let path = project.join(&*name);
        let data =
            if name.starts_with("resources/") { with_speed(&file.data, speed)? } else { file.data.to_vec() };
        if std::fs::read(&path).is_ok_and(|old| old == data) {
            continue;
        }
        let folder = path.parent().unwrap_or(project);
        std::fs::create_dir_all(folder).map_err(|error| io_failure("make", folder, &error))?;
        std::fs::write(&path, data).map_err(|error| io_failure("write", &path, &error))?;
    }
    Ok(())
}

fn with_speed(yaml: &[u8], speed: &str) -> Result<Vec<u8>, Failure> {
    let number = speed.parse::<f64>().is_ok_and(|n| n.is_finite() && n > 0.0);
    if speed != "max" && !number {
        return Err(Failure::invalid(
            format!("`{speed}` is not a speed"),
            "give simulated seconds per second, such as 3600, or `max`",
        ));
    }
    let text = String::from_utf8_lossy(yaml);
    let lines = text.lines().map(|line| match line.trim_start().starts_with("speed:") {
        true => format!("{}speed: {speed}", &line[..line.len() - line.trim_start().len()]),
        false => line.to_string(),
    });
    Ok((lines.collect::<Vec<_>>().join("\n") + "\n").into_bytes())
}
