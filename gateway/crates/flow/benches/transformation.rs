//! How long it takes to make a backend's body of a message: of 1 KB, by a template of 1 KB.

use criterion::{Criterion, criterion_group, criterion_main};

mod order;

use order::Order;

fn transform(criterion: &mut Criterion) {
    let order = Order::new();
    criterion.bench_function("transform a 1 KB message by a 1 KB template", |bencher| {
        bencher.iter(|| order.transform());
    });
}

criterion_group!(benches, transform);
criterion_main!(benches);
