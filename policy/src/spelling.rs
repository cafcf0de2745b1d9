//! What the deparser writes as something else unless it is spelled out: names that it does not quote, and
//! truth by its first letter.

use pg_query::NodeEnum;
use pg_query::protobuf::{TypeCast, TypeName, a_const};

/// Quotes a name that the deparser writes as it is: a window's, a join's behind USING, an argument's.
pub(crate) fn quote(name: &mut String) {
    // A text that is judged twice is quoted once. A name that begins with a quote fails its proof.
    if !name.is_empty() && !name.starts_with('"') {
        *name = format!("\"{}\"", name.replace('"', "\"\""));
    }
}

/// Spells out `'t'::boolean`, which the deparser takes for `true`: that is no cast, so that a column of it has another name.
pub(crate) fn spell_out(cast: &mut TypeCast) {
    let boolean = cast.type_name.as_ref().is_some_and(is_boolean);
    let Some(NodeEnum::AConst(constant)) = cast.arg.as_mut().and_then(|arg| arg.node.as_mut())
    else {
        return;
    };
    if let (true, Some(a_const::Val::Sval(text))) = (boolean, constant.val.as_mut())
        && let Some((_, long)) = TRUTHS.iter().find(|(short, _)| text.sval == *short)
    {
        text.sval = (*long).to_owned();
    }
}

/// How the deparser's `true` and `false` were written, and how they are spelled out.
pub(crate) const TRUTHS: [(&str, &str); 2] = [("t", "true"), ("f", "false")];

fn is_boolean(name: &TypeName) -> bool {
    let names = name.names.iter().map(|name| match name.node.as_ref() {
        Some(NodeEnum::String(name)) => name.sval.as_str(),
        _ => "",
    });
    names.eq(["pg_catalog", "bool"])
}
