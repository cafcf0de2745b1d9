//! Makes what fails smaller, for the people who must read it: a statement by cutting parts out of its
//! tree (`edits`), a script by leaving steps out, as long as what remains fails, too.

mod edits;

use edits::Edited;

/// How often something smaller is tried.
const TRIES_MAX: usize = 600;

/// The smallest statement found that fails. The statement itself must.
pub fn statement(sql: &str, mut fails: impl FnMut(&str) -> bool) -> String {
    let mut smallest = sql.to_owned();
    let mut tries = 0;
    // What can't be cut now can be once something else is gone.
    let mut before = usize::MAX;
    while smallest.len() < before && tries < TRIES_MAX {
        before = smallest.len();
        let mut number = 0;
        while tries < TRIES_MAX {
            match edits::edited(&smallest, number) {
                Edited::NoMore => break,
                Edited::Text(text) if text.len() < smallest.len() => {
                    tries += 1;
                    if fails(&text) {
                        smallest = text;
                    } else {
                        number += 1;
                    }
                }
                Edited::Text(_) | Edited::Unwritable => number += 1,
            }
        }
    }
    smallest
}

/// The smallest part of a list found that fails, in its order. The list itself must.
pub fn list<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut smallest = items.to_vec();
    let mut at = smallest.len();
    while at > 0 {
        at -= 1;
        let mut fewer = smallest.clone();
        fewer.remove(at);
        if !fewer.is_empty() && fails(&fewer) {
            smallest = fewer;
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_space(text: &str) -> String {
        text.replace(' ', "")
    }

    #[test]
    fn only_what_fails_is_left() {
        let sql = "WITH w AS (SELECT id FROM calls) SELECT a.id, upper(a.txt), (SELECT max(x.n) FROM x WHERE x.bad > 3) \
                   FROM notes a JOIN w ON w.id = a.id LEFT JOIN leads l ON l.id = a.id \
                   WHERE a.txt > 'x' AND (a.id < 5 OR l.bad = 1) ORDER BY 1, 2 LIMIT 3";
        let shrunk = statement(sql, |text| {
            text.contains("bad = 1") && text.contains("leads")
        });
        assert_eq!(without_space(&shrunk), "SELECTNULLFROMleadslWHEREl.bad=1");
        let shrunk = statement(sql, |text| text.contains("max"));
        assert_eq!(without_space(&shrunk), "SELECT(SELECTmax(x.n))");
    }

    #[test]
    fn writes_are_cut_too() {
        let sql = "INSERT INTO t (a, b, c) VALUES (1, 2, 3), (4, bad, 6) ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING a, b";
        let shrunk = statement(sql, |text| text.contains("bad"));
        assert_eq!(without_space(&shrunk), "INSERTINTOt(b)VALUES(bad)");
        let sql = "MERGE INTO t USING (SELECT id FROM s WHERE s.x = 1) q ON q.id = t.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND bad THEN DO NOTHING";
        let shrunk = statement(sql, |text| text.contains("bad"));
        assert_eq!(
            without_space(&shrunk),
            "MERGEINTOtUSING(SELECTid)qONq.idWHENNOTMATCHEDANDbadTHENDONOTHING"
        );
        let sql = "UPDATE t SET a = 1, b = s.bad FROM s, u WHERE t.id = s.id RETURNING t.a";
        let shrunk = statement(sql, |text| text.contains("bad"));
        assert_eq!(without_space(&shrunk), "UPDATEtSETb=s.bad");
    }

    #[test]
    fn an_order_that_a_limit_needs_stays() {
        let sql = "SELECT id FROM t ORDER BY id LIMIT 3";
        let shrunk = statement(sql, |text| text.contains("LIMIT"));
        assert!(shrunk.contains("ORDER BY"), "{shrunk}");
    }

    #[test]
    fn lists_lose_what_does_not_matter() {
        let shrunk = list(&[1, 2, 3, 4, 5], |rest| {
            rest.contains(&2) && rest.contains(&4)
        });
        assert_eq!(shrunk, [2, 4]);
    }
}
