//! A message of RFC 5424.

use chrono::SecondsFormat;
use hostward_config::SyslogText;
use hostward_events::Record;

use crate::siem::fields;

/// authpriv.
const FACILITY: u8 = 10;
/// Of the block of private enterprise numbers that RFC 5612 sets aside: hostward has none of its own.
const SD_ID: &str = "hostward@32473";
/// The longest value that is told apart.
const MAX_VALUE: usize = 1024;

/// `line` is the event as it is in the log.
pub fn message(record: &Record, line: &[u8], text: SyslogText) -> Vec<u8> {
    let priority = FACILITY * 8 + fields::priority(record);
    let time = record.time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let hostname = name(record.data["device"]["hostname"].as_str().unwrap_or_default(), 255);
    let kind = name(fields::kind(record), 32);
    let mut message = format!("<{priority}>1 {time} {hostname} hostward - {kind} [{SD_ID}");
    for (name, value) in fields::of(record) {
        message.push_str(&format!(" {name}=\""));
        escape(&mut message, &value);
        message.push('"');
    }
    message.push_str("] ");
    let mut message = message.into_bytes();
    match text {
        SyslogText::Message => {
            // The byte order mark says that what follows is UTF-8.
            message.extend_from_slice("\u{feff}".as_bytes());
            let plain = record.message().chars().map(|c| if c.is_control() { ' ' } else { c });
            message.extend_from_slice(plain.collect::<String>().as_bytes());
        }
        // What reads JSON does not want the mark.
        SyslogText::Json => message.extend_from_slice(line),
    }
    message
}

fn name(text: &str, most: usize) -> String {
    let name: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if name.is_empty() { "-".into() } else { name }
}

fn escape(message: &mut String, value: &str) {
    for c in value.chars().take(MAX_VALUE) {
        if matches!(c, '"' | '\\' | ']') {
            message.push('\\');
        }
        message.push(if c.is_control() { ' ' } else { c });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_the_rfc_has_it() {
        let message = message(&fields::tests::record(), b"{}", SyslogText::Message);
        let text = String::from_utf8(message).unwrap();
        assert_eq!(
            text,
            format!(
                "<84>1 2027-01-15T08:00:00.123456Z web1 hostward - login.denied [hostward@32473 id=\"ab-7\" \
                 type=\"hostward.login.denied\" sequence=\"7\" source=\"urn:hostward:host:h1\" subject=\"al\\]i\\\"ce\\\\\" \
                 boot=\"{}\" class=\"3002\" activity=\"Logon\" severity=\"Medium\" status=\"Failure\" code=\"expired\" \
                 user=\"alice\" src=\"192.0.2.7\"] \u{feff}login of alice refused: ü",
                "b".repeat(32)
            )
        );
        let json = super::message(&fields::tests::record(), b"{}", SyslogText::Json);
        assert!(json.ends_with(b"] {}"));
    }
}
