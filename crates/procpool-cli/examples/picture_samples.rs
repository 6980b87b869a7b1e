//! Writes small pictures of every format, or the colour profiles of some, for a fuzzer to begin with.
//!
//! Usage: `picture_samples picture|profile FOLDER`

#[path = "../tests/common/samples.rs"]
mod samples;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use moxcms::ColorProfile;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, folder] = arguments.as_slice() else {
        return Err("usage: picture_samples picture|profile FOLDER".into());
    };
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    if kind == "profile" {
        for (name, profile) in [
            ("p3", ColorProfile::new_display_p3()),
            ("adobe", ColorProfile::new_adobe_rgb()),
            ("srgb", ColorProfile::new_srgb()),
            ("grey", ColorProfile::new_gray_with_gamma(2.2)),
        ] {
            fs::write(folder.join(name), profile.encode()?)?;
        }
        return Ok(());
    }
    for (format, content) in samples::small_pictures() {
        fs::write(folder.join(format!("sample.{}", format.extension())), content)?;
    }
    fs::write(folder.join("moving.gif"), samples::moving())?;
    Ok(())
}
