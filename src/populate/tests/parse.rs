//! Answers as remotes give them, good and bad.

use proptest::prelude::*;

use super::*;

const ALL: Keep = Keep {
    after: None,
    before: u32::MAX,
    points_max: 1000,
};

fn graphite(body: &str) -> Result<(Vec<Raw>, Summary), Cause> {
    read_with(body, Remote::Graphite, &ALL)
}

fn prometheus(body: &str) -> Result<(Vec<Raw>, Summary), Cause> {
    read_with(body, Remote::Prometheus, &ALL)
}

fn read_with(body: &str, remote: Remote, keep: &Keep) -> Result<(Vec<Raw>, Summary), Cause> {
    let before = (1, 2.0);
    let mut points = vec![before];
    let summary = parse(body.as_bytes(), remote, keep, &mut points);
    assert_eq!(points.remove(0), before, "what other URLs gave stays");
    assert!(summary.is_ok() || points.is_empty());
    summary.map(|summary| (points, summary))
}

#[test]
fn graphites_nulls_are_left_out() {
    // Vector 147.
    let body =
        r#"[{"target": "a", "tags": {"name": "a"}, "datapoints": [[null, 60], [1.0, 120]]}]"#;
    let (points, summary) = graphite(body).unwrap();
    assert_eq!(points, [(120, 1.0)]);
    assert_eq!(
        (summary.without_value, summary.newest),
        (1, Some((120, true)))
    );
    let (points, summary) =
        graphite(r#"[{"datapoints": [[2, 60], [null, 180], [null, 120]]}]"#).unwrap();
    assert_eq!(points, [(60, 2.0)]);
    assert_eq!(
        (summary.newest, summary.newest_value),
        (Some((180, false)), Some(60))
    );
}

#[test]
fn prometheus_timestamps_are_cut_and_its_nans_left_out() {
    // Vector 148.
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1478021705.123,"1"],[1478021735,"NaN"],[1478021736.9,"+Inf"],[1478021737,"-1.5e3"]]}]}}"#;
    let (points, summary) = prometheus(body).unwrap();
    assert_eq!(points, [(1_478_021_705, 1.0), (1_478_021_737, -1500.0)]);
    assert_eq!(summary.without_value, 2);
}

#[test]
fn a_number_is_what_python_takes_for_one() {
    let body = r#"[{"datapoints": [["1.5", 1], [true, 2], [3, "3"], [4, 4.9], [" 5 ", 5], [18446744073709551615, 6],
        [[], 7], [{}, 8], ["x", 9], [1, "1.5"], [1, null], [1, -1], [1, 4294967296], [1, 1e300], [1, []], [1], [], 5, null, "ab", {"a": 1}, true, 1.5, -1, [7, 10, 11]]}]"#;
    let (points, summary) = graphite(body).unwrap();
    let expected = [
        (1, 1.5),
        (2, 1.0),
        (3, 3.0),
        (4, 4.0),
        (5, 5.0),
        (6, 18_446_744_073_709_551_615.0),
        (10, 7.0),
    ];
    assert_eq!(points, expected);
    assert_eq!(summary.unreadable, 18);
}

#[test]
fn the_literals_of_python_cost_no_other_point() {
    let body = r#"[{"target": "NaN", "datapoints": [[1, 60], [NaN, 120], [Infinity, 180], [1e9999, 240], [-Infinity, 300], [2, 360]]}]"#;
    let (points, summary) = graphite(body).unwrap();
    assert_eq!(points, [(60, 1.0), (360, 2.0)]);
    assert_eq!(summary.without_value, 4);
    assert_eq!(
        graphite("\u{feff}[{\"datapoints\": [[1, 60]]}]")
            .unwrap()
            .0
            .len(),
        1
    );
}

#[test]
fn only_the_first_series_is_taken_and_the_last_of_repeated_members() {
    let body = r#"[{"datapoints": [[1, 60]]}, {"datapoints": [[2, 120]]}, 5]"#;
    let (points, summary) = graphite(body).unwrap();
    assert_eq!((points, summary.series_ignored), (vec![(60, 1.0)], 2));
    let body = r#"[{"datapoints": [[1, 60], [1, 70]], "datapoints": [[2, 50]]}]"#;
    let (points, summary) = graphite(body).unwrap();
    assert_eq!(
        (points, summary.newest),
        (vec![(50, 2.0)], Some((50, true)))
    );
    let body = r#"{"data":{"result":[{"values":[[1,"1"]]},{"values":[[2,"2"]]}]}}"#;
    assert_eq!(prometheus(body).unwrap().0, [(1, 1.0)]);
}

#[test]
fn an_answer_without_points_is_empty() {
    for body in [
        "[]",
        r#"[{"datapoints": []}]"#,
        r#"[{"datapoints": []}, {"datapoints": [[1, 2]]}]"#,
    ] {
        assert_eq!(graphite(body), Err(Cause::Empty), "{body}");
    }
    for body in [
        r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        r#"{"data":{"result":[{"values":[]}]}}"#,
    ] {
        assert_eq!(prometheus(body), Err(Cause::Empty), "{body}");
    }
}

#[test]
fn what_is_no_answer_is_told_apart_from_an_empty_one() {
    let deep = format!("[{}", "[".repeat(100_000));
    for body in [
        "",
        "<html><body>Log in</body></html>",
        "null",
        "5",
        "{}",
        "[5]",
        "[null]",
        "[{}]",
        "[[]]",
        r#"[{"datapoints": 5}]"#,
        r#"[{"datapoints": null}]"#,
        r#"[{"datapoints": [[1, 2]]"#,
        r#"[{"datapoints": [[1, 2]]}]x"#,
        r#"[{"datapoints": [[1, 2],]}]"#,
        &deep,
    ] {
        assert_eq!(
            graphite(body),
            Err(Cause::Decode),
            "{}",
            &body[..body.len().min(40)]
        );
    }
    for body in [
        r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
        r#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}"#,
        r#"{"data":{"resultType":"scalar","result":[1,"1"]}}"#,
        r#"{"data":{"result":{"values":[[1,"1"]]}}}"#,
        r#"[{"datapoints": [[1, 2]]}]"#,
    ] {
        assert_eq!(prometheus(body), Err(Cause::Decode), "{body}");
    }
}

#[test]
fn what_is_old_is_not_kept_and_what_would_be_too_much_is_refused_whole() {
    let body = r#"[{"datapoints": [[1, 60], [2, 120], [3, 180], [null, 240]]}]"#;
    let keep = Keep {
        after: Some(60),
        before: 180,
        points_max: 3,
    };
    let (points, summary) = read_with(body, Remote::Graphite, &keep).unwrap();
    assert_eq!(points, [(120, 2.0), (180, 3.0)]);
    assert_eq!((summary.old, summary.newest_value), (1, Some(120)));
    // One more was held before.
    let keep = Keep {
        points_max: 2,
        ..keep
    };
    assert_eq!(
        read_with(body, Remote::Graphite, &keep),
        Err(Cause::TooLarge)
    );
}

proptest! {
    #[test]
    fn points_survive_their_json(points in proptest::collection::vec((any::<u32>(), any::<f64>().prop_filter("finite", |v| v.is_finite())), 1..50)) {
        let pairs: Vec<String> = points.iter().map(|(at, value)| format!("[{value:?},{at}]")).collect();
        let body = format!("[{{\"datapoints\":[{}]}}]", pairs.join(","));
        prop_assert_eq!(&graphite(&body).unwrap().0, &points);
        let pairs: Vec<String> = points.iter().map(|(at, value)| format!("[{at}.5,\"{value:?}\"]")).collect();
        let body = format!("{{\"data\":{{\"result\":[{{\"values\":[{}]}}]}}}}", pairs.join(","));
        prop_assert_eq!(prometheus(&body).unwrap().0, points);
    }

    #[test]
    fn no_answer_makes_it_panic(body in "[\\[\\]{},:\"a-e0-9.NaI ]{0,60}") {
        let _ = graphite(&body);
        let _ = prometheus(&body);
    }
}
