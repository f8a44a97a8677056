//! The live page: one static file that reads `/metrics` and `/recent` of where it came from, and nothing else.

use std::fmt::Write;

const PAGE: &str = include_str!("page.html");
/// Stands in the file where a random word is put.
const NONCE: &str = "{nonce}";

pub struct Page {
    pub text: String,
    /// Its Content-Security-Policy: the page's own script and style run, nothing that came in with a name
    /// does, and it asks nobody else for anything.
    pub policy: String,
}

pub fn render() -> Result<Page, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let mut nonce = String::with_capacity(32);
    for byte in random {
        let written = write!(nonce, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    Ok(Page {
        text: PAGE.replace(NONCE, &nonce),
        policy: format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
             connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client chose is text: nothing in the page can make it anything else.
    #[test]
    fn the_page_is_whole_and_has_no_way_to_read_a_name_as_html() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "http:",
            "https:",
            " style=",
            " onclick",
            " onload",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
        let page = render().unwrap();
        assert!(!page.text.contains(NONCE) && page.text.len() < 40_000);
        let again = render().unwrap();
        assert_ne!(page.policy, again.policy, "a nonce is used once");
    }
}
