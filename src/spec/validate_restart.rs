//! Validation of a container's own restart policy and its rules.

use crate::spec::{report::Report, spot::Spot};

/// The most rules that a container may have.
const MOST_RULES: usize = 20;

/// The most exit codes that a rule may list.
const MOST_CODES: usize = 255;

/// Checks the policy and its rules.
pub fn restarts(container: &Spot, report: &mut Report) {
    let policy = container.at("restartPolicy");
    policy.one_of(report, &["Always", "OnFailure", "Never"]);
    let rules = container.at("restartPolicyRules");
    if rules.len() > MOST_RULES {
        rules.fault(report, "are too many rules", format!("write at most {MOST_RULES}"));
    }
    if rules.len() > 0 && policy.text().is_none() {
        rules.fault(
            report,
            "stand without restartPolicy",
            "write restartPolicy: what holds where no rule matches",
        );
    }
    for rule in rules.items() {
        rule.at("action").one_of(report, &["Restart", "RestartAllContainers"]);
        let Some(codes) = rule.has("exitCodes") else {
            let codes = rule.at("exitCodes");
            codes.fault(report, "required field is missing", "say which exit codes it is about");
            continue;
        };
        codes.at("operator").one_of(report, &["In", "NotIn"]);
        let values = codes.at("values");
        if values.len() == 0 || values.len() > MOST_CODES {
            values.fault(report, "has no exit codes, or too many", "list 1 to 255 of them");
        }
    }
}
