//! How long a template of 1 KB takes over a message of 1 KB, compiled once and for each message.

use criterion::{Criterion, criterion_group, criterion_main};

mod order;

use order::Order;

fn render(criterion: &mut Criterion) {
    let order = Order::new();
    criterion.bench_function("render a 1 KB template over a 1 KB message", |bencher| {
        bencher.iter(|| order.render());
    });
    criterion.bench_function("compile a 1 KB template", |bencher| bencher.iter(Order::new));
}

criterion_group!(benches, render);
criterion_main!(benches);
