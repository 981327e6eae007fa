//! The code that is generated of contracts and kept beside them is what they say.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use prost_types::{
    DescriptorProto, FieldDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use tonic_prost_build::{Builder, FileDescriptorSet};

#[test]
fn what_is_generated_of_contracts_is_up_to_date() {
    let payments = repository().join("shop/payments-api");
    let descriptors = protox::compile(["payments.proto"], [payments.join("proto")]).unwrap();
    let builder = tonic_prost_build::configure().build_transport(false);
    let [(_, generated)] = &generate(builder, descriptors).into_iter().collect::<Vec<_>>()[..] else {
        panic!("the contract has one package")
    };
    check(&payments.join("src/generated.rs"), generated);
}

#[test]
fn what_is_generated_of_opentelemetrys_protocol_is_up_to_date() {
    let wire = repository().join("crates/wire");
    let services = ["trace", "logs", "metrics"]
        .map(|kind| format!("opentelemetry/proto/collector/{kind}/v1/{kind}_service.proto"));
    let mut descriptors = protox::compile(services, [wire.join("proto")]).unwrap();
    // The comments stay with the contract: they are longer than the code, and have links that lead nowhere here.
    descriptors.file.iter_mut().for_each(|file| file.source_code_info = None);
    let mut builder = tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .message_attribute(".", "#[derive(::serde::Deserialize)]")
        .message_attribute(".", r#"#[serde(default, rename_all = "camelCase")]"#);
    for message in
        ["common.v1.AnyValue", "metrics.v1.Metric", "metrics.v1.NumberDataPoint", "metrics.v1.Exemplar"]
    {
        let name = message.rsplit('.').next().unwrap();
        let attribute = format!(r#"#[serde(from = "crate::otlp::json::{name}")]"#);
        builder = builder.message_attribute(format!(".opentelemetry.proto.{message}"), attribute);
    }
    for file in &descriptors.file {
        for message in &file.message_type {
            let path = format!(".{}.{}", file.package(), message.name());
            builder = with_readers(builder, &path, message);
            for nested in &message.nested_type {
                builder = with_readers(builder, &format!("{path}.{}", nested.name()), nested);
            }
        }
    }
    let generated = generate(builder, descriptors);
    assert_eq!(generated.len(), 8, "a package for each module of `wire::otlp`");
    for (name, generated) in generated {
        check(&wire.join("src/otlp/generated").join(name), &generated);
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Says of each field of a message how it is read of JSON. What belongs to a `oneof` is read by hand.
fn with_readers(mut builder: Builder, path: &str, message: &DescriptorProto) -> Builder {
    let in_oneof = |field: &FieldDescriptorProto| field.oneof_index.is_some() && !field.proto3_optional();
    for field in message.field.iter().filter(|field| !in_oneof(field)) {
        let repeated = field.label() == Label::Repeated;
        let reader = match (field.r#type(), repeated, field.proto3_optional()) {
            (Type::Int64 | Type::Uint64 | Type::Fixed64 | Type::Sfixed64, false, _) => "integer",
            (Type::Int64 | Type::Uint64 | Type::Fixed64 | Type::Sfixed64, true, _) => "integers",
            (Type::Double, false, false) => "double",
            (Type::Double, false, true) => "optional_double",
            (Type::Double, true, _) => "doubles",
            // All bytes outside of a `oneof` are ids.
            (Type::Bytes, ..) => "hex",
            _ => "nullable",
        };
        let attribute = format!(r#"#[serde(deserialize_with = "crate::otlp::json::{reader}")]"#);
        builder = builder.field_attribute(format!("{path}.{}", field.name()), attribute);
    }
    builder
}

/// What is generated, by the names of the files.
fn generate(builder: Builder, descriptors: FileDescriptorSet) -> BTreeMap<String, String> {
    let out = tempfile::tempdir().unwrap();
    builder.out_dir(out.path()).compile_fds(descriptors).unwrap();
    let files = fs::read_dir(out.path()).unwrap().map(Result::unwrap);
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap()))
        .collect()
}

fn check(kept: &Path, generated: &str) {
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(kept, generated).unwrap();
    } else {
        let same = fs::read_to_string(kept).unwrap_or_default() == generated;
        assert!(same, "{}: run `UPDATE_EXPECT=1 cargo test -p xtask --test contracts`", kept.display());
    }
}
