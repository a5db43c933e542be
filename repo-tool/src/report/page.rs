//! The state of a repository as a static HTML page without scripts. The page loads no other files.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use lastmile_cli_support::MonitorState;
use lastmile_client::text::printable;
use lastmile_metadata::format_time;
use sha2::{Digest as _, Sha256};

use crate::Renewal;
use crate::report::counts::counted;
use crate::report::overview::{Overview, Problem, minute, state_name};
use crate::report::roles::RoleStatus;

/// The style sheet of the page. The Content-Security-Policy of the page allows no other style sheet.
const STYLE: &str = include_str!("page.css");

pub(crate) fn html(overview: &Overview) -> String {
    let repository = escaped(&overview.repository);
    let style_digest = STANDARD.encode(Sha256::digest(STYLE));
    let state = overview.state();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style_digest}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{name}: {repository}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{repository}</h1>\n\
         <p><span class=\"state {class}\">{name}</span> <span class=\"dim\">checked <time datetime=\"{time}\">{checked}\
         </time></span></p>\n",
        name = state_name(state),
        class = class(state),
        time = format_time(&overview.checked),
        checked = minute(overview.checked),
    );
    if !overview.problems.is_empty() {
        page += "<h2>Problems</h2>\n<ul class=\"problems\">\n";
        overview.problems.iter().for_each(|problem| page += &problem_item(problem));
        page += "</ul>\n";
    }
    page += "<h2>Roles</h2>\n<ul class=\"roles\">\n";
    overview.roles.iter().for_each(|role| page += &role_item(role, overview));
    page + "</ul>\n</body>\n</html>\n"
}

fn problem_item(problem: &Problem) -> String {
    format!(
        "<li><span class=\"state {}\">{}</span> {}</li>\n",
        class(problem.state),
        state_name(problem.state),
        escaped(&problem.text)
    )
}

fn role_item(role: &RoleStatus, overview: &Overview) -> String {
    let left = role.expires - overview.checked;
    let (class, state) = match role.renewal {
        Renewal::Expired => ("bad", "expired"),
        Renewal::Urgent => ("bad", "must be renewed now"),
        Renewal::Overdue => ("warn", "overdue"),
        Renewal::Due => ("warn", "due for renewal"),
        Renewal::Later => ("good", "valid"),
    };
    let shown =
        if left <= TimeDelta::zero() { "no time left".to_string() } else { format!("{} left", time_left(left)) };
    let mut item = format!(
        "<li>\n<h2>{name}</h2>\n<p><span class=\"state {class}\">{state}</span>, version {version}</p>\n\
         <meter min=\"0\" max=\"{max}\" low=\"{low}\" high=\"{low}\" optimum=\"{max}\" value=\"{value}\">{shown}</meter>\n\
         <p>{shown}, until <time datetime=\"{time}\">{expires}</time></p>\n",
        name = escaped(&role.name),
        version = role.version,
        max = longest(overview).max(1),
        low = (role.expires - role.renew_from).num_seconds().clamp(0, longest(overview).max(1)),
        value = left.num_seconds().max(0),
        time = format_time(&role.expires),
        expires = minute(role.expires),
    );
    let _ = writeln!(
        item,
        "<p>{} of {} must sign:</p>\n<ul class=\"keys\">",
        role.threshold,
        counted(role.keys.len() as u64, "key")
    );
    for key in &role.keys {
        let id: String = key.id.chars().take(8).collect();
        // The page may be public, so do not show the location of the private key.
        let place = if key.uri.is_some() { ", on this machine" } else { "" };
        let _ = writeln!(item, "<li><code>{}</code> {}{place}</li>", escaped(&id), escaped(key.keytype));
    }
    for odd in &role.odd {
        let _ = writeln!(item, "<li class=\"warn\">{}</li>", escaped(&odd.to_string()));
    }
    item + "</ul>\n</li>\n"
}

/// Returns the seconds until the last role expires. The bars on the page are scaled to this time.
fn longest(overview: &Overview) -> i64 {
    overview.roles.iter().map(|role| (role.expires - overview.checked).num_seconds()).max().unwrap_or_default()
}

fn time_left(left: TimeDelta) -> String {
    match (left.num_days(), left.num_hours()) {
        (0, 0) => "less than an hour".to_string(),
        (0 | 1, hours) => counted(hours, "hour"),
        (days, _) => counted(days, "day"),
    }
}

fn class(state: MonitorState) -> &'static str {
    match state {
        MonitorState::Ok => "good",
        MonitorState::Warning => "warn",
        MonitorState::Critical | MonitorState::Unknown => "bad",
    }
}

/// Escapes text for HTML, and makes unprintable characters visible.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}
