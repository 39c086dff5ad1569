//! Results as one HTML page that needs nothing but a browser: the numbers as JSON inside it, drawn
//! by the script beside them (`page.html`).

use serde::Serialize;

use super::summary::Summary;

const PAGE: &str = include_str!("page.html");
const PLACE: &str = "@RESULTS@";

#[derive(Serialize)]
struct Runs<'a> {
    kind: &'static str,
    runs: &'a [Summary],
}

/// The page of one run or of a sweep.
pub(super) fn of_runs(runs: &[Summary]) -> Result<String, String> {
    of(&Runs { kind: "runs", runs })
}

/// The page of anything that the script knows by its `kind`.
pub(super) fn of(results: &impl Serialize) -> Result<String, String> {
    let json = serde_json::to_string(results).map_err(|error| error.to_string())?;
    // No text inside can end the script element or open a comment.
    let json = json.replace('<', "\\u003c");
    Ok(PAGE.replacen(PLACE, &json, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_page_and_cannot_break_out() {
        let evil = serde_json::json!({ "kind": "runs", "runs": [], "x": "</script><!--" });
        let page = of(&evil).expect("a page");
        assert!(page.contains(r#""x":"\u003c/script>\u003c!--""#) && !page.contains(PLACE));
        let start = page.find("id=\"results\">").expect("the element") + "id=\"results\">".len();
        let json = &page[start..start + page[start..].find("</script>").expect("its end")];
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).expect("JSON"), evil);
    }

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        let named = PAGE.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "src=", "@import", "fetch(", "url("] {
            assert!(!named.contains(word), "{word}");
        }
    }
}
