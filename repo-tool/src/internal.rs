//! Items for this project's own command-line tool and tests. Any release may change or remove them.

/// Re-exports the public items of a private module.
macro_rules! expose {
    ($($(#[$attribute:meta])* $name:ident = $($path:ident)::+;)*) => {
        $($(#[$attribute])* pub mod $name {
            pub use crate::$($path)::+::*;
        })*
    };
}

expose! {
    batch = publish::batch;
    bin_advice = edit::bin_advice;
    #[cfg(feature = "http")]
    catch_up = served::catch_up;
    #[cfg(feature = "cli")]
    cli = cli;
    diff = report::diff;
    finding = check::finding;
    git_ignore = files::git_ignore;
    intake = edit::intake;
    key_store = key_store;
    layout = files::layout;
    links = files::links;
    lint = check::lint;
    list = edit::list;
    names = names;
    overlay = check::overlay;
    own_files = files::own_files;
    practice = check::practice;
    proof = revoke::proof;
    queue = publish::queue;
    received = publish::received;
    revoke = revoke;
    #[cfg(feature = "http")]
    server = served::server;
    status = report::status;
    target_source = edit::target_source;
    transaction = publish::transaction;
    trusting = trusting;
    user = user;
    verify = report::verify;
}
