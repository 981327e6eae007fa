macro_rules! package {
    ($file:literal) => {
        pub mod v1 {
            include!(concat!("generated/opentelemetry.proto.", $file, ".v1.rs"));
        }
    };
}
pub mod collector {
    pub mod logs { package!("collector.logs"); }
    pub mod metrics { package!("collector.metrics"); }
    pub mod trace { package!("collector.trace"); }
}
pub mod common { package!("common"); }
pub mod logs { package!("logs"); }
pub mod metrics { package!("metrics"); }
pub mod resource { package!("resource"); }
pub mod trace { package!("trace"); }
