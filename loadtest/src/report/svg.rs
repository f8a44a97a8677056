//! What the pictures have in common. Narrow enough that their letters can be read on a phone, and light or dark as
//! the reader's system is.

/// Of every picture, in its own units.
pub const WIDTH: f64 = 440.0;

const STYLE: &str = "
.chart{font:12px system-ui,sans-serif;--ink:#1c2330;--soft:#5b6575;--line:#d9dee6;--s0:#1f5fd6;--s1:#8a94a3;--s2:#c9772b;--s3:#7a5bb5;--page:#fff}
@media(prefers-color-scheme:dark){.chart{--ink:#e6e9ee;--soft:#9aa4b2;--line:#323a46;--s0:#6fa0ff;--s1:#7c8695;--s2:#e39a55;--s3:#ab90e0;--page:#14181f}}
.chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}.chart .title{font-weight:600;font-size:14px}
.chart .end{text-anchor:end}.chart .middle{text-anchor:middle}
.chart .rule{stroke:var(--line);fill:none}.chart .limit{stroke:var(--ink);stroke-dasharray:2 2}
.chart .curve{fill:none;stroke-width:2;stroke-linejoin:round}
.chart .f0{fill:var(--s0)}.chart .f1{fill:var(--s1)}.chart .f2{fill:var(--s2)}.chart .f3{fill:var(--s3)}
.chart .l0{stroke:var(--s0)}.chart .l1{stroke:var(--s1)}.chart .l2{stroke:var(--s2)}.chart .l3{stroke:var(--s3)}
";

/// A picture for a page: its title is what a reader without eyes is told.
pub fn picture(title: &str, height: f64, inside: &str) -> String {
    format!(
        "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\
         <title>{}</title>{inside}</svg>",
        escaped(title)
    )
}

/// The same by itself: with its style, and a ground to stand on, wherever it is shown.
pub fn file(picture: &str) -> String {
    let ground = "<rect width=\"100%\" height=\"100%\" rx=\"8\" style=\"fill:var(--page)\"/>";
    let start = picture.find('>').map_or(0, |at| at + 1);
    let (head, rest) = picture.split_at(start);
    format!("{head}<style>{STYLE}</style>{ground}{rest}\n")
}

pub fn style() -> &'static str {
    STYLE
}

pub fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>",
        escaped(text)
    )
}

pub fn line(class: &str, [x1, y1, x2, y2]: [f64; 4]) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
