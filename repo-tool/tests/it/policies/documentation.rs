//! Checks that the example policies in the documentation are valid.

use lastmile_attest::LocalPolicy;
use lastmile_attest::Policy;
use lastmile_attest::policy::from_toml;

fn examples(page: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_string());
    blocks.filter(|block| block.starts_with("version = 1\n")).collect()
}

#[test]
fn the_example_policies_in_the_documentation_are_valid() {
    let guide = examples("maintainers.md");
    assert_eq!(guide.len(), 2);
    let reference = examples("policy.md");
    assert_eq!(reference.len(), 2);
    for example in guide.iter().chain(reference.first()) {
        let policy =
            Policy::parse(from_toml(example).unwrap().as_bytes()).unwrap_or_else(|error| panic!("{error}: {example}"));
        assert_eq!(policy.unsupported(), Vec::<String>::new(), "{example}");
    }
    LocalPolicy::parse(from_toml(reference.last().unwrap()).unwrap().as_bytes()).unwrap();
}
