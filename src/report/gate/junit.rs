//! A report as JUnit XML, which continuous integration shows case by case.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::judgment::Judgment;
use super::requirement::CHECKS;
use crate::evaluate::{Check, Verdict};
use crate::report::report::Report;

impl Report {
    /// The requirements and checks of every model as JUnit XML: a suite a model, a case each.
    ///
    /// A requirement that is not met is a failure. A suspicious check is one, too, where `checks` is among
    /// the requirements, else it is skipped, as is a check that does not apply; both say why. There are
    /// failures where [`meets_requirements`](Self::meets_requirements) says no, and nowhere else. It holds no
    /// dates and no durations.
    pub fn to_junit(&self) -> String {
        let checks_count = self.requirements.iter().any(|judgment| judgment.requirement == CHECKS);
        let mut suites = quick_junit::Report::new("histoguard");
        let judged = self.requirements.iter().map(|judgment| judgment.model.as_str());
        let mut names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
        names.extend(judged.filter(|_| self.models.is_empty()).take(1));
        for name in names {
            let mut suite = TestSuite::new(name);
            let judgments = self.requirements.iter().filter(|judgment| judgment.model == name);
            suite.add_test_cases(judgments.map(requirement));
            let model = self.models.iter().find(|model| model.name == name);
            let checks = model.iter().flat_map(|model| &model.result.checks);
            suite.add_test_cases(checks.map(|found| check(name, found, checks_count)));
            suites.add_test_suite(suite);
        }
        suites.to_string().expect("text is written without fail")
    }

    /// Whether every requirement is met, also if there is none.
    pub fn meets_requirements(&self) -> bool {
        self.requirements.iter().all(|judgment| judgment.met)
    }
}

fn case(name: &str, kind: &str, model: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("{model}.{kind}"));
    case
}

fn requirement(judgment: &Judgment) -> TestCase {
    let Judgment { model, requirement, met, found } = judgment;
    let status = match met {
        true => TestCaseStatus::success(),
        false => failure("not met", format!("expected {requirement}, found {found}")),
    };
    let mut case = case(requirement, "requirements", model, status);
    case.set_system_out(found.as_str());
    case
}

fn check(model: &str, check: &Check, counts: bool) -> TestCase {
    let status = match check.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Suspicious if counts => failure("suspicious", check.seen.clone()),
        Verdict::Suspicious => {
            skipped(format!("suspicious, though `{CHECKS}` is not required: {}", check.seen))
        }
        Verdict::NotApplicable => skipped(format!("not applicable: {}", check.seen)),
    };
    let mut case = case(&check.name, "checks", model, status);
    case.set_system_out(format!("{}\n{} ({})", check.seen, check.matters, check.source));
    case
}

fn failure(kind: &str, message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind).set_message(message);
    status
}

fn skipped(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}
