//! Conditions on the labels that a sender carries.

use crate::policy::LabelTest;

/// Labels of which a sender must carry some, and others of which not. Which prefixes a label holds is
/// not looked at: live members come and go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'p> {
    pub wanted: Option<&'p LabelTest>,
    pub unwanted: Option<&'p LabelTest>,
}

impl Labels<'_> {
    /// Whether every sender that meets `other` meets this, as far as it can be told from the names.
    pub fn covers(&self, other: &Labels<'_>) -> bool {
        let wanted = self.wanted.is_none_or(|mine| other.wanted.is_some_and(|theirs| implies(theirs, mine)));
        let unwanted =
            self.unwanted.is_none_or(|mine| other.unwanted.is_some_and(|theirs| implies(mine, theirs)));
        wanted && unwanted
    }

    /// Whether any sender can meet it.
    pub fn is_possible(&self) -> bool {
        match (self.wanted, self.unwanted) {
            (Some(wanted), Some(unwanted)) => !implies(wanted, unwanted),
            _ => true,
        }
    }
}

/// Whether whoever passes `given` passes `asked`.
fn implies(given: &LabelTest, asked: &LabelTest) -> bool {
    let in_asked = |name: &String| asked.names.binary_search(name).is_ok();
    let in_given = |name: &String| given.names.binary_search(name).is_ok();
    match (given.all, asked.all) {
        (true, true) => asked.names.iter().all(in_given),
        (true, false) => asked.names.iter().any(in_given),
        (false, false) => given.names.iter().all(in_asked),
        // Any of several is all of nothing but that one name.
        (false, true) => given.names.len() == 1 && asked.names.iter().all(in_given),
    }
}
