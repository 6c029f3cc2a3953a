//! Paths of the control API.

/// A path of the API, with its query.
#[derive(Clone, Debug)]
pub struct Target {
    text: String,
    queried: bool,
}

impl Target {
    /// The path itself.
    #[must_use]
    pub fn new(path: &str) -> Target {
        Target { text: path.to_owned(), queried: false }
    }

    /// As it stands in a request.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// With one more segment, whatever characters it holds.
    #[must_use]
    pub fn segment(mut self, name: &str) -> Target {
        self.text.push('/');
        encode(&mut self.text, name);
        self
    }

    /// With a query parameter, if it has a value.
    #[must_use]
    pub fn query(mut self, key: &str, value: Option<impl ToString>) -> Target {
        if let Some(value) = value {
            self.text.push(if self.queried { '&' } else { '?' });
            self.text.push_str(key);
            self.text.push('=');
            encode(&mut self.text, &value.to_string());
            self.queried = true;
        }
        self
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let target = Target::new("/v1/routes")
            .segment("a/b c%é")
            .query("limit", Some(5))
            .query("by", None::<&str>)
            .query("route", Some("x&y=z"));
        assert_eq!(target.as_str(), "/v1/routes/a%2Fb%20c%25%C3%A9?limit=5&route=x%26y%3Dz");
    }
}
