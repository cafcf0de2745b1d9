//! Functions that read and change settings. The setting must be known by name: a literal, which is
//! then part of the verdict, or, where it is only read, a parameter that Bind checks.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, ParamRef, a_const};

use super::Judge;
use super::calls::denied;
use super::names::{Ty, strings};
use crate::builtin::settings;
use crate::catalog::Oid;
use crate::deny::{Denial, DenyReason};
use crate::plan::{Effect, TextCheck, TextPart};

/// Types whose values are texts, by what a Parse message declares.
pub(super) const TEXTS: [u32; 3] = [25, 1043, 19];

/// What a parameter may be cast to and stay the text that it is.
pub(super) const PLAIN: [u32; 2] = [25, 1043];

impl Judge<'_> {
    pub(super) fn set_config(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let name = self.literal_of_setting(call.args.first())?;
        let given = call.args.get(1);
        let mut value = None;
        if settings::is_judged_by_value(&name) {
            match given.and_then(|arg| self.text_parameter(arg, &PLAIN)) {
                Some(parameter) => {
                    self.check_text(parameter, TextPart::SettingValue(name.to_ascii_lowercase()));
                }
                None => value = Some(self.literal_of_setting(given)?),
            }
        }
        let effect = settings::check(&self.bound.policy, &name, value.as_deref())?;
        self.findings.effects.extend(effect);
        self.sets(&name);
        Ok(())
    }

    /// An argument of set_config that the verdict depends on.
    fn literal_of_setting(&mut self, argument: Option<&Node>) -> Result<String, Denial> {
        let literal = argument.and_then(|argument| self.pinned_text(argument));
        literal.ok_or_else(|| {
            let text =
                "set_config needs the setting's name, and a value that matters, as a literal";
            Denial::new(DenyReason::IdentityGuard, text).hint("Use SET, or write them as literals.")
        })
    }

    /// The same for a break-glass role, which may call it in a select list for all but its identity.
    pub(super) fn sets_unguarded(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let name = self.literal_of_setting(call.args.first())?;
        if settings::is_identity(&name) {
            return Err(settings::identity(&name));
        }
        if settings::is_judged_by_value(&name) {
            let value = self.literal_of_setting(call.args.get(1))?;
            settings::check_reading(&name, Some(&value))?;
        }
        self.sets(&name);
        if name.eq_ignore_ascii_case("search_path") {
            self.findings.effects.push(Effect::SearchPath);
        }
        Ok(())
    }

    /// Reading a setting needs its name: some applications keep their signing keys in settings.
    pub(super) fn current_setting(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let named = call.args.first();
        if let Some(parameter) = named.and_then(|arg| self.text_parameter(arg, &PLAIN)) {
            self.check_text(parameter, TextPart::Setting);
            return Ok(());
        }
        let name = named.and_then(|arg| self.pinned_text(arg));
        let Some(name) = name else {
            let hint = "Write the setting's name as a literal or a parameter.";
            return Err(denied("current_setting").hint(hint));
        };
        settings::check_read(&name)
    }

    /// Has the text of a parameter checked at Bind.
    pub(super) fn check_text(&mut self, parameter: u16, says: TextPart) {
        let check = TextCheck { parameter, says };
        if !self.findings.texts.contains(&check) {
            self.findings.texts.push(check);
        }
    }

    /// The parameter whose text a Bind will bring, perhaps cast to one of these types.
    pub(super) fn text_parameter(&self, node: &Node, casts: &[Oid]) -> Option<u16> {
        match node.node.as_ref()? {
            NodeEnum::ParamRef(parameter) => self.bound_text(parameter),
            NodeEnum::TypeCast(cast) => {
                let to = cast.type_name.as_ref()?;
                let plain =
                    matches!(self.type_name(to), Ok(Ty::Known(oid)) if casts.contains(&oid));
                let arg = cast
                    .arg
                    .as_deref()
                    .filter(|_| plain && to.typmods.is_empty());
                self.text_parameter(arg?, casts)
            }
            _ => None,
        }
    }

    /// A parameter of a text's type. One without a declared type has it from where it stands, if
    /// it stands nowhere else: elsewhere it could become another type, and be cast back from it.
    fn bound_text(&self, parameter: &ParamRef) -> Option<u16> {
        let number = u16::try_from(parameter.number).ok()?;
        if number == 0 || number > self.parameters || self.preparing {
            return None;
        }
        let declared = self.request.declared.get(usize::from(number) - 1);
        let text = match declared {
            None | Some(0 | 705) => self.stands_once(number),
            Some(oid) => TEXTS.contains(oid),
        };
        text.then_some(number)
    }

    /// The text of a string literal, perhaps cast, whose value becomes part of the verdict.
    pub(super) fn pinned_text(&mut self, node: &Node) -> Option<String> {
        match node.node.as_ref()? {
            NodeEnum::AConst(constant) => {
                let Some(a_const::Val::Sval(text)) = constant.val.as_ref() else {
                    return None;
                };
                self.pin(constant.location);
                Some(text.sval.clone())
            }
            // A length would cut the text, another type would read it in its own way.
            NodeEnum::TypeCast(cast) => {
                let to = cast.type_name.as_ref()?;
                let name = strings(&to.names).ok()?.last().copied()?;
                let plain = matches!(name, "text" | "varchar" | "regclass")
                    && to.typmods.is_empty()
                    && to.array_bounds.is_empty();
                self.pinned_text(cast.arg.as_deref().filter(|_| plain)?)
            }
            _ => None,
        }
    }
}
