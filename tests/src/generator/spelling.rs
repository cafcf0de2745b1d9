//! The ways to write a relation's name.

use super::Generator;

impl Generator {
    /// `schema` is empty or `public.`.
    pub(super) fn spelled(&mut self, schema: &str, name: &str) -> String {
        let quoted = name.starts_with('"');
        match self.random.below(40) {
            0 if !quoted => format!("{schema}\"{name}\""),
            1 if !quoted => format!("{schema}{}", name.to_uppercase()),
            2 if !quoted => format!("\"public\" . {}", name.to_uppercase()),
            3 if !quoted => {
                let (first, rest) = name.split_at(1);
                let code = u32::from(first.chars().next().unwrap_or('x'));
                format!("{schema}U&\"\\{code:04x}{rest}\"")
            }
            4 => format!("public/* . x */.{name}"),
            5 => format!("public.\n-- here\n{name}"),
            6 => format!("{schema}{name} *"),
            _ => format!("{schema}{name}"),
        }
    }
}
