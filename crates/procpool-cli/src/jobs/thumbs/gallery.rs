//! A page for browsers with all thumbnails: everything in one file but the pictures themselves, which it shows from where they
//! are. No script, nothing fetched from elsewhere.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::frame::names;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5d6b7a;--line:#d9e0e7;--paper:#fff;--back:#f4f6f8;--focus:#2f6fde;--bad:#a32020}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa8b7;--line:#2d3946;--paper:#18212b;--back:#10171f;--focus:#7aa9ff;--bad:#ff8d85}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{margin:0 auto;padding:24px 16px}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:17px;margin:24px 0 10px}
p{margin:0;color:var(--soft)}
ul.grid{list-style:none;margin:20px 0 0;padding:0;display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--cell)),1fr))}
.grid a{display:flex;flex-direction:column;align-items:center;height:100%;padding:10px;border:1px solid var(--line);border-radius:8px;background:var(--paper);color:inherit;text-decoration:none}
.grid a:hover span{text-decoration:underline}
a:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
.grid img{display:block;max-width:100%;height:auto;margin:auto}
.grid span{margin-top:8px;max-width:100%;font-size:13px;text-align:center;overflow-wrap:anywhere}
.failed{padding-left:20px}
.failed li{margin-bottom:6px;overflow-wrap:anywhere}
.failed code{font:13px ui-monospace,monospace}
.failed em{font-style:normal;color:var(--bad)}
";

/// What the page shows of one input.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The picture.
    pub(super) input: PathBuf,
    /// Its thumbnail, or why it has none.
    pub(super) made: Result<Shown, String>,
}

/// A thumbnail of an input.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) path: PathBuf,
    /// Width and height in pixels.
    pub(super) size: (u32, u32),
    /// The others of the same picture, in other sizes.
    pub(super) others: Vec<(PathBuf, (u32, u32))>,
}

impl Shown {
    /// Those of the others that show the same in other sizes, so that a browser may take one for a finer screen.
    fn alike(&self) -> impl Iterator<Item = &(PathBuf, (u32, u32))> {
        let (width, height) = (u64::from(self.size.0), u64::from(self.size.1));
        self.others.iter().filter(move |(_, other)| {
            let (across, down) = (u64::from(other.0), u64::from(other.1));
            // Lengths are whole, so the proportions of the smaller one may be half a pixel off in each.
            (across * height).abs_diff(width * down) <= (across + down).max(width + height) / 2
        })
    }
}

/// The page, to be saved in the folder `home`. `cell` is the width to expect of a thumbnail.
pub(super) fn page(home: &Path, cell: u32, entries: &[Entry]) -> String {
    let folder = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let found = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        found.unwrap_or_else(|_| path.to_owned())
    };
    // Of the file itself a link is kept: it may be what the user means.
    let whole = |path: &Path| folder(path.parent().unwrap_or(Path::new(""))).join(path.file_name().unwrap_or_default());
    let home = folder(home);
    let link = |path: &Path| escape(&address(&home, &whole(path)));
    let shown = entries.iter().filter(|entry| entry.made.is_ok()).count();
    let title = if shown == 1 { "1 picture".to_owned() } else { format!("{shown} pictures") };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'; object-src 'none'; base-uri 'none'\">\n\
         <title>{title}</title>\n<style>{STYLE}:root{{--cell:{}px}}\n</style>\n<main>\n<h1>{title}</h1>\n\
         <p>by procpool {}</p>\n",
        cell.clamp(96, 640) + 22,
        env!("CARGO_PKG_VERSION")
    );
    if shown > 0 {
        page += "<ul class=\"grid\">\n";
    }
    for Entry { input, made } in entries {
        let Ok(shown) = made else { continue };
        let (width, height) = shown.size;
        let mut choice = String::new();
        for (path, (width, _)) in shown.alike() {
            let _ = write!(choice, ", {} {width}w", link(path));
        }
        if !choice.is_empty() {
            // It is never shown wider than it is.
            choice = format!(" srcset=\"{} {width}w{choice}\" sizes=\"{width}px\"", link(&shown.path));
        }
        let (name, full) = (names::show(Path::new(input.file_name().unwrap_or_default())), names::show(input));
        let (name, full) = (escape(&name), escape(&full));
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "<li><a href=\"{}\" title=\"{full}\"><img src=\"{}\"{choice} width=\"{width}\" height=\"{height}\" loading=\"lazy\" \
             decoding=\"async\" alt=\"{name}\"><span aria-hidden=\"true\">{name}</span></a></li>",
            link(input),
            link(&shown.path)
        );
    }
    if shown > 0 {
        page += "</ul>\n";
    }
    let failed = entries.len() - shown;
    if failed > 0 {
        let _ = write!(
            page,
            "<section aria-labelledby=\"failed\"><h2 id=\"failed\">{failed} without a thumbnail</h2>\n<ul class=\"failed\">\n"
        );
        for Entry { input, made } in entries {
            if let Err(message) = made {
                let _ = writeln!(
                    page,
                    "<li><code>{}</code>: <em>{}</em></li>",
                    escape(&names::show(input)),
                    escape(&names::show_message(message))
                );
            }
        }
        page += "</ul></section>\n";
    }
    page + "</main>\n</html>\n"
}

/// The address of a file for a page in the folder `home`, both whole paths: relative, so that both can be moved together, and with
/// all but the plainest characters written as their bytes, so that no name is anything else than a name.
fn address(home: &Path, file: &Path) -> String {
    let normal = |path: &Path| -> Vec<Vec<u8>> {
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            _ => None,
        });
        parts.collect()
    };
    let (home, file) = (normal(home), normal(file));
    let common = home.iter().zip(&file).take_while(|(a, b)| a == b).count().min(file.len().saturating_sub(1));
    let up = std::iter::repeat_n("..".to_owned(), home.len() - common);
    let down = file[common..].iter().map(|name| encode(OsStr::from_bytes(name)));
    // A first part with a colon would be a scheme, so it is encoded like the rest.
    up.chain(down).collect::<Vec<_>>().join("/")
}

fn encode(name: &OsStr) -> String {
    let mut text = String::new();
    for &byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_relative_and_plain() {
        let to = |home: &str, file: &[u8]| address(Path::new(home), Path::new(OsStr::from_bytes(file)));
        assert_eq!(to("/a/b", b"/a/b/thumbs/x.jpg"), "thumbs/x.jpg");
        assert_eq!(to("/a/b/c", b"/a/x y.jpg"), "../../x%20y.jpg");
        assert_eq!(to("/", b"/x.jpg"), "x.jpg");
        assert_eq!(to("/a", b"/a"), "../a");
        assert_eq!(to("/a", b"/a/javascript:alert(1)"), "javascript%3Aalert%281%29");
        assert_eq!(to("/a", b"/a/%2e?#\"'<\xff.jpg"), "%252e%3F%23%22%27%3C%FF.jpg");
    }

    #[test]
    fn browsers_get_the_choice_of_what_shows_the_same() {
        let other = |name: &str, size| (PathBuf::from(name), size);
        let shown = |others: Vec<(PathBuf, (u32, u32))>| {
            let made = Ok(Shown { path: "t/a b_128.jpg".into(), size: (128, 85), others });
            page(Path::new("."), 128, &[Entry { input: "a b.jpg".into(), made }])
        };
        let page = shown(vec![
            other("t/a b_256.jpg", (256, 171)),
            other("t/a b_90x90.jpg", (90, 90)),
            other("t/a b_64.jpg", (64, 43)),
        ]);
        let choice = "<img src=\"t/a%20b_128.jpg\" srcset=\"t/a%20b_128.jpg 128w, t/a%20b_256.jpg 256w, \
                      t/a%20b_64.jpg 64w\" sizes=\"128px\" width=\"128\"";
        assert!(page.contains(choice), "{page}");
        assert!(!shown(vec![other("t/c.jpg", (128, 128))]).contains("srcset"));
    }

    /// How far two colours are apart, as the Web Content Accessibility Guidelines 2.2 define it.
    fn contrast(a: &str, b: &str) -> f64 {
        let light = |colour: &str| -> f64 {
            let wide = if colour.len() == 3 { 1 } else { 2 };
            let level = |at: usize| {
                let digits = &colour[at * wide..(at + 1) * wide].repeat(3 - wide);
                let level = f64::from(u8::from_str_radix(digits, 16).expect("two digits")) / 255.0;
                if level <= 0.04045 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * level(0) + 0.7152 * level(1) + 0.0722 * level(2)
        };
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn all_that_is_written_can_be_read() {
        let mut schemes = 0;
        for scheme in STYLE.lines().filter(|line| line.contains("--ink:")) {
            let colour = |name: &str| {
                let begin = scheme.find(&format!("--{name}:#")).expect("the colour is there") + name.len() + 4;
                scheme[begin..].split([';', '}']).next().unwrap_or_default()
            };
            for (ink, paper, least) in [
                ("ink", "back", 7.0),
                ("ink", "paper", 7.0),
                ("soft", "back", 4.5),
                ("bad", "back", 4.5),
                ("focus", "back", 3.0),
                ("focus", "paper", 3.0),
            ] {
                let found = contrast(colour(ink), colour(paper));
                assert!(found >= least, "{ink} on {paper}: {found:.2}, in {scheme}");
            }
            schemes += 1;
        }
        assert_eq!(schemes, 2, "one for light screens and one for dark ones");
    }

    #[test]
    fn names_and_messages_are_text_and_nothing_else() {
        let hostile = "\"><script>alert(1)</script>' onerror=x.jpg";
        let path = PathBuf::from("t").join(hostile.replace('/', ""));
        let made = Ok(Shown { path, size: (128, 72), others: Vec::new() });
        let entries = [
            Entry { input: hostile.replace('/', "").into(), made },
            Entry { input: "b\u{202e}.jpg".into(), made: Err("<img src=x>\n".into()) },
        ];
        let page = page(Path::new("."), 128, &entries);
        assert!(!page.contains("<script") && !page.contains("<img src=x>") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;script&gt;&#39; onerror=x.jpg"));
        assert!(page.contains("<code>b\\u{202e}.jpg</code>: <em>&lt;img src=x&gt;\\n</em>"));
        assert!(page.contains(" width=\"128\" height=\"72\" loading=\"lazy\""));
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert_eq!((page.matches("<img ").count(), page.matches("<title>1 picture</title>").count()), (1, 1));
    }
}
