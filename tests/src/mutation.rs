//! The rewriter, broken on purpose: rewritten texts with something wrong in them, each of which the
//! proof must refuse.
//!
//! A mutant is a pair of templates over tokens (`mutants` lists them, `template` reads them). It is
//! tried at every place of every rewritten statement of the case files, one place at a time.

mod mutants;
mod template;

pub use mutants::{Harm, MUTANTS, Mutant};
pub use template::{Template, tokens};

use crate::fixture::Tenant;

/// All texts that a mutant makes of a rewritten one, whose first hidden parameter has this number.
pub fn broken(mutant: &Mutant, text: &str, first_hidden: u16) -> Vec<String> {
    let tokens = tokens(text);
    let from = Template::new(mutant.from);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if let Some(matched) = from.matches(&tokens, at, first_hidden) {
            let mut text = tokens[..at].join(" ");
            text.push(' ');
            text.push_str(&matched.write(mutant.to));
            text.push(' ');
            text.push_str(&tokens[matched.end()..].join(" "));
            found.push(text);
        }
    }
    found
}

/// A text with the session's values in place of its parameters, whose slots are `hidden`; a parameter too
/// far is another tenant's value.
pub fn filled(text: &str, hidden: &[usize], tenant: Tenant) -> String {
    let value = |token: &String| {
        let Some(number) = token.strip_prefix('$') else {
            return token.clone();
        };
        let slot = number.parse().ok().and_then(|n: usize| hidden.get(n - 1));
        match slot {
            Some(0) => format!("'{}'", tenant.org()),
            Some(_) => format!("'{}'", tenant.user()),
            None => format!("'{}'", Tenant::B.org()),
        }
    };
    tokens(text).iter().map(value).collect::<Vec<_>>().join(" ")
}
