//! The code that is generated of contracts and kept beside them is what they say.

use std::{env, fs, path::Path};

/// Each folder with a contract in `proto/` and what is generated of it in `src/generated.rs`.
const CONTRACTS: &[(&str, &str)] = &[("shop/payments-api", "payments.proto")];

#[test]
fn what_is_generated_of_contracts_is_up_to_date() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (folder, contract) in CONTRACTS {
        let folder = repository.join(folder);
        let generated = generate(&folder.join("proto"), contract);
        let kept = folder.join("src/generated.rs");
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&kept, generated).unwrap();
        } else {
            let same = fs::read_to_string(&kept).unwrap() == generated;
            assert!(same, "{}: run `UPDATE_EXPECT=1 cargo test -p xtask --test contracts`", kept.display());
        }
    }
}

fn generate(proto: &Path, contract: &str) -> String {
    let descriptors = protox::compile([contract], [proto]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let files: Vec<_> = fs::read_dir(out.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{contract} has one package: {files:?}");
    fs::read_to_string(&files[0]).unwrap()
}
