//! Which parts of a file may hold secrets, going by nothing but keys: in a text that need not be YAML, and in a tree.
//!
//! Whoever writes a password where only its place belongs makes a mistake, and often more than one. So nothing here trusts
//! the file to be right: below a key that has to do with secrets only what is known to be harmless is shown.

mod text;

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::keys;
use super::suggest::nearest;
use super::yaml::{Node, Value};

pub(super) use text::{hidden_from, lines};

/// What stands in place of a secret.
pub(super) const MASK: &str = "***";

/// Secrets of up to so many characters stand everywhere in a text by chance.
const SHORT_CHARS_MAX: usize = 3;

/// What has secrets inside, wherever it stands: settings of Java clients, and addresses with a password.
static INLINE: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r#"(?i)(?:pass\w*|pwd|secret|token)["']?\s*=\s*(\S+)"#,
        r#"[^\s/:@"'{},]:([^\s@]+)@"#,
    ];
    patterns
        .into_iter()
        .filter_map(|pattern| Regex::new(pattern).ok())
        .collect()
});

/// Keys below which names and passwords are expected, by other names than ours.
const LOGINS: [&str; 10] = [
    "auth",
    "authentication",
    "authorization",
    "credential",
    "credentials",
    "login",
    "logins",
    "account",
    "accounts",
    "scram",
];

/// Parts of the names of keys that hold a secret themselves.
const SECRET_WORDS: [&str; 15] = [
    "pass",
    "pasw",
    "pwd",
    "psw",
    "secret",
    "jaas",
    "token",
    "credential",
    "apikey",
    "api_key",
    "api.key",
    "private",
    "oauthbearer",
    "ssl.key",
    "keystore",
];

/// Keys of `security` that are no secrets and hold none.
const SECURITY_PLAIN: [&str; 7] = [
    "protocol",
    "mechanism",
    "username",
    "ca",
    "certificate",
    "key",
    "verify_hostname",
];

/// What is to be thought of values, by the keys above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    /// Nothing secret so far.
    Open,
    Security,
    Sasl,
    /// Keys are names of users, and each holds a secret's place.
    Users,
    /// Something that holds a secret, or should hold the place of one.
    Secret,
    /// A single word that may be shown.
    Word,
    /// A list of such words.
    Words,
}

impl Below {
    /// What is below a key that stands here, and whether the key may be shown.
    fn key(self, key: &str) -> (Below, bool) {
        // Where a comma or a blank is forgotten, what stands before looks like a part of the key.
        let key = key.to_lowercase();
        let mut words: Vec<&str> = words(&key).collect();
        let word = words.pop().unwrap_or_default();
        let (below, is_shown) = self.word(word, &words);
        let has_value = self != Below::Open && key.contains([':', '=']);
        (below, is_shown && !has_value)
    }

    fn word(self, word: &str, before: &[&str]) -> (Below, bool) {
        match self {
            Below::Open => match before.iter().any(|word| Below::of(word) != Below::Open) {
                true => (Below::Secret, false),
                false => (Below::of(word), true),
            },
            Below::Security if SECURITY_PLAIN.contains(&word) => (Below::Word, true),
            Below::Sasl if word == "mechanisms" => (Below::Words, true),
            Below::Security | Below::Sasl => match Below::of(word) {
                Below::Open => (Below::Secret, true),
                known => (known, true),
            },
            Below::Users => (Below::Secret, true),
            Below::Secret if keys::SECRET.contains(&word) => (Below::Word, true),
            Below::Secret => (
                Below::Secret,
                nearest(word, keys::SECRET.iter().copied()).is_some(),
            ),
            Below::Word | Below::Words => match Below::of(word) {
                Below::Open => (Below::Secret, false),
                known => (known, true),
            },
        }
    }

    /// What stands in a bracket that begins here.
    fn bracket(self, bracket: char) -> Below {
        match self {
            Below::Words if bracket == '[' => Below::Word,
            Below::Word | Below::Words => Below::Secret,
            other => other,
        }
    }

    /// Whether nothing may be shown that is no key.
    fn is_secret(self) -> bool {
        !matches!(self, Below::Open | Below::Word | Below::Words)
    }

    /// What is below a key that may stand anywhere.
    fn of(word: &str) -> Below {
        if LOGINS.contains(&word) {
            return Below::Secret;
        }
        // Of our own keys only these have to do with secrets, whatever others are like.
        match word {
            "security" => return Below::Security,
            "sasl" => return Below::Sasl,
            "users" => return Below::Users,
            "key_password" => return Below::Secret,
            _ if is_known(word) && word != "password" => return Below::Open,
            _ => {}
        }
        if word.starts_with("sasl.") || SECRET_WORDS.iter().any(|part| word.contains(part)) {
            return Below::Secret;
        }
        match nearest(word, ["security", "sasl", "users", "password"]) {
            Some("security") => Below::Security,
            Some("sasl") => Below::Sasl,
            Some("users") => Below::Users,
            Some(_) => Below::Secret,
            None => Below::Open,
        }
    }
}

/// Whether a topology has such a key anywhere.
pub(super) fn is_known(key: &str) -> bool {
    keys::KEYS.iter().any(|(_, keys)| keys.contains(&key))
}

/// What a key or a comment consists of.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.split(move |c| !is_inner(c)).filter(|word| !word.is_empty())
}

/// Whether a text has a key of secrets with its value inside, without the punctuation that would part them.
fn is_glued(text: &str) -> bool {
    let text = text.to_lowercase();
    let own = ["sasl", "users", "user", "security"];
    let is_secret = |key: &str| {
        own.contains(&key) || key.starts_with("sasl.") || SECRET_WORDS.iter().any(|part| key.contains(part))
    };
    let mut rest = text.as_str();
    while let Some((key, value)) = rest.split_once([':', '=', ' ']) {
        // What is behind the colon of an address is a port.
        if is_secret(key) && !value.chars().all(|c| c.is_ascii_digit()) {
            return true;
        }
        rest = value;
    }
    false
}

/// A text that must not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    pub text: String,
    /// Wherever it stands. Otherwise only where a message quotes it: it may be a word of the message too.
    pub everywhere: bool,
}

/// Texts of a tree that must not be shown, whatever a message is about.
pub(super) fn secrets(root: &Node) -> Vec<Hidden> {
    let mut secrets = Secrets::default();
    secrets.collect(root, Below::Open);
    let Secrets { mut list } = secrets;
    list.retain(|hidden| !hidden.text.trim().is_empty() && !is_known(&hidden.text));
    // The longest first, or a part of it would be left over.
    list.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then_with(|| a.text.cmp(&b.text)));
    list.dedup();
    list
}

/// Replaces secrets in the text of a message.
pub(super) fn without_secrets(text: &str, secrets: &[Hidden]) -> String {
    secrets
        .iter()
        .fold(text.to_owned(), |text, hidden| match hidden.everywhere {
            true => text.replace(hidden.text.as_str(), MASK),
            false => without_word(&text, &hidden.text),
        })
}

/// Replaces a secret where it is a word of what a message quotes from the file.
fn without_word(text: &str, secret: &str) -> String {
    let is_inner = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut masked = String::new();
    let mut last = 0;
    for (at, _) in text.match_indices(secret) {
        let (head, tail) = (&text[..at], &text[at + secret.len()..]);
        let is_word = !head.ends_with(is_inner) && !tail.starts_with(is_inner);
        // A text without quotes, such as a path, is a quote itself.
        let is_quoted = head.matches('`').count() % 2 == 1 || !text.contains('`');
        if is_word && is_quoted {
            masked += &text[last..at];
            masked += MASK;
            last = at + secret.len();
        }
    }
    masked + &text[last..]
}

/// Gathers what must not be shown.
#[derive(Debug, Default)]
struct Secrets {
    list: Vec<Hidden>,
}

impl Secrets {
    fn value(&mut self, text: &str) {
        let everywhere = text.chars().count() > SHORT_CHARS_MAX;
        self.list.push(Hidden {
            text: text.to_owned(),
            everywhere,
        });
    }

    fn key(&mut self, text: &str) {
        self.list.push(Hidden {
            text: text.to_owned(),
            everywhere: false,
        });
    }

    fn collect(&mut self, node: &Node, below: Below) {
        let is_secret = below.is_secret();
        match &node.value {
            // There are two of these, and both are words of messages.
            Value::Null | Value::Bool(_) => {}
            Value::Int(value) if is_secret => self.value(&value.to_string()),
            Value::Float(value) if is_secret => self.value(&value.to_string()),
            Value::Tagged(tag) if is_secret => self.value(tag),
            Value::Int(_) | Value::Float(_) | Value::Tagged(_) => {}
            Value::Text(text) => {
                let is_more_than_a_word = below != Below::Open && !is_word(text);
                if let Some(part) = inline(text) {
                    self.value(&text[part]);
                }
                if is_secret || is_more_than_a_word || inline(text).is_some() || is_glued(text) {
                    self.value(text);
                }
            }
            Value::List(items) => items
                .iter()
                .for_each(|item| self.collect(item, below.bracket('['))),
            Value::Map(pairs) => {
                let mut is_after_secret = false;
                for (key, value) in pairs {
                    is_after_secret |= self.pair(key, value, below.bracket('{'), is_after_secret);
                }
            }
        }
    }

    /// Whether the value is a secret that has been written there. What comes after it may belong to it: commas part keys.
    fn pair(&mut self, key: &Node, value: &Node, below: Below, is_after_secret: bool) -> bool {
        let Value::Text(text) = &key.value else {
            self.collect(key, below);
            self.collect(value, below);
            return false;
        };
        // A merge key brings what belongs here.
        if text == "<<" {
            self.collect(value, below);
            return false;
        }
        let (next, is_shown) = below.key(text);
        let is_like_a_key = is_known(text)
            || (below == Below::Open && text.chars().all(|c| c.is_ascii_lowercase() || "._-".contains(c)));
        let is_secret =
            next.is_secret() && matches!(value.value, Value::Text(_) | Value::Int(_) | Value::Float(_));
        let has_more = below == Below::Users && is_secret && text.contains(char::is_whitespace);
        let is_shown = is_shown && !has_more && (is_like_a_key || !is_after_secret);
        // A name without a value is rather a value without a name, unless a topology has it.
        let is_value = matches!(value.value, Value::Null)
            && !is_known(text)
            && (below != Below::Open || is_glued(text) || inline(text).is_some());
        if is_value || !is_shown {
            self.key(text);
        }
        self.collect(value, next);
        // Users are often several, each with a password in the file.
        let is_missing = next.is_secret() && matches!(value.value, Value::Null);
        is_missing || (is_secret && below != Below::Users)
    }
}

/// Whether a value is short and plain enough to be what its key says.
fn is_word(text: &str) -> bool {
    !text.contains(char::is_whitespace) && !text.contains("-----") && text.chars().count() <= 255
}

/// Where in a text a secret stands, if its surroundings tell so.
fn inline(text: &str) -> Option<Range<usize>> {
    let found = INLINE.iter().filter_map(|pattern| pattern.captures(text)?.get(1));
    found.map(|found| found.range()).min_by_key(|found| found.start)
}
