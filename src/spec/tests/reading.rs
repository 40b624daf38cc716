//! .
use super::*;
#[test]
fn zz_show() {
    for f in std::fs::read_dir("tests/fixtures/daemonsets").unwrap() {
        let p = f.unwrap().path();
        let r = read(&p.to_string_lossy(), &std::fs::read(&p).unwrap(), FieldValidation::Strict);
        for f in &r.faults {
            println!("{f}");
        }
        for d in &r.documents {
            println!(
                "{} {} {} {:?} {}",
                d.index,
                d.line,
                d.kind,
                d.key.as_ref().map(|k| k.to_string()),
                match &d.outcome {
                    Outcome::Set(s) => format!("SET {}", s.hash),
                    Outcome::Ignored { reason } => reason.clone(),
                    Outcome::Rejected => "REJECTED".into(),
                }
            );
            for f in d.faults.iter() {
                println!("   FAULT {f}");
            }
            for f in d.warnings.iter() {
                println!("   WARN {f}");
            }
            for f in d.fields.iter().filter(|f| f.support == Support::Refused) {
                println!("   REFUSED {} {} {}", f.path, f.value, f.reason);
            }
        }
    }
}
