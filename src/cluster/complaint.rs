//! What librdkafka says of a cluster that does not answer: which of its lines tell why, and what somebody can do about it.
//!
//! librdkafka says a reason when it changes, and again after 30 s. In between it only counts the brokers that are down, which
//! tells nobody anything.

use rdkafka::error::RDKafkaErrorCode;

/// Why a cluster does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What kind of reason it is.
    pub kind: Kind,
    /// librdkafka's words.
    pub text: String,
}

/// What can be done about it differs by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The cluster does not believe that we are who we say we are.
    Refused,
    /// A cluster that has not answered anything so far closes connections: it may expect another protocol.
    Closed,
    /// Anything else, which its own words tell.
    Other,
}

impl Complaint {
    /// Reads a line or an error of librdkafka; `None` if it does not tell why.
    pub fn read(code: Option<RDKafkaErrorCode>, line: &str) -> Option<Complaint> {
        let text = plain(line);
        if code == Some(RDKafkaErrorCode::AllBrokersDown) || text.ends_with("brokers are down") {
            return None;
        }
        let has = |part: &str| text.contains(part);
        // What has answered once goes by the number of its node.
        let has_not_answered = has("/bootstrap: ");
        let was_closed = [
            "Disconnected",
            "Broken pipe",
            "Connection reset",
            "might require SASL",
        ];
        let kind = if code == Some(RDKafkaErrorCode::Authentication)
            || has("SASL authentication error")
            || (has("SASL") && has("handshake failed"))
        {
            Kind::Refused
        } else if has_not_answered && was_closed.into_iter().any(has) {
            Kind::Closed
        } else {
            Kind::Other
        };
        Some(Complaint {
            kind,
            text: text.to_owned(),
        })
    }
}

/// A line without the name of the thread that wrote it, and without the count of lines that librdkafka swallowed.
fn plain(line: &str) -> &str {
    let line = match line.strip_prefix('[') {
        Some(rest) => rest.split_once("]: ").map_or(line, |(_, rest)| rest),
        None => line,
    };
    line.split_once(" (after ").map_or(line, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_from_counts() {
        let read = |line| Complaint::read(None, line).map(|complaint| (complaint.kind, complaint.text));
        assert_eq!(read("2/2 brokers are down"), None);
        assert_eq!(Complaint::read(Some(RDKafkaErrorCode::AllBrokersDown), "x"), None);
        let refused =
            "sasl_plaintext://h:9092/bootstrap: SASL authentication error: no (after 1ms in state AUTH_REQ)";
        let words = "sasl_plaintext://h:9092/bootstrap: SASL authentication error: no";
        assert_eq!(read(refused), Some((Kind::Refused, words.to_owned())));
        let line = format!("[thrd:h:9092/bootstrap]: {refused}");
        assert_eq!(read(&line), Some((Kind::Refused, words.to_owned())));
        let kind = |line| read(line).map(|(kind, _)| kind);
        assert_eq!(
            kind("h:9092/bootstrap: Send failed: Broken pipe"),
            Some(Kind::Closed)
        );
        assert_eq!(kind("h:9092/bootstrap: Disconnected"), Some(Kind::Closed));
        assert_eq!(kind("h:9092/1: Disconnected"), Some(Kind::Other));
        assert_eq!(
            kind("h:9092/bootstrap: Connect to ipv4#1 failed: Connection refused"),
            Some(Kind::Other)
        );
    }
}
