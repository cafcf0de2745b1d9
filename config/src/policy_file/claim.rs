//! Claim paths.

use pgwarden_policy::rules::ClaimPath;

use crate::document::Node;
use crate::reader::Complaint;
use crate::values::word;

/// Claims that users may write themselves, by whatever name identity providers know them. A tenant
/// that comes from one of them is a tenant that the user chooses.
const USER_WRITABLE: &[&str] = &["user_metadata", "raw_user_meta_data", "unsafe_metadata"];

/// Where the tenant stands unless the policy says otherwise.
pub(super) fn default() -> ClaimPath {
    ClaimPath(vec!["app_metadata".to_owned(), "org_id".to_owned()])
}

/// Reads a dotted path.
pub(super) fn path(node: &Node) -> Result<ClaimPath, Complaint> {
    let written = word(node)?;
    let steps: Vec<String> = written.split('.').map(str::to_owned).collect();
    if steps.iter().any(|step| step.trim().is_empty()) {
        return Err(Complaint::new("claim path has an empty part")
            .help("write names separated by dots, such as \"app_metadata.org_id\""));
    }
    let writable = |step: &String| USER_WRITABLE.contains(&step.to_lowercase().as_str());
    if let Some(step) = steps.iter().find(|step| writable(step)) {
        let message = format!("claim path goes through \"{step}\", which users can write");
        return Err(Complaint::new(message).help(
            "take a claim that only the identity provider sets, such as \"app_metadata.org_id\"",
        ));
    }
    Ok(ClaimPath(steps))
}
