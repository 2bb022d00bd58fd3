fn main() {
    let all = reveille_checks::source::uses();
    for u in &all {
        println!(
            "{} {} {} {} {} {} | {:?}",
            u.place,
            u.place.column,
            u.function,
            u.operation.name(),
            u.object,
            u.order,
            u.partners(&all)
        );
    }
}
