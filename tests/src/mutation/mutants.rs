//! The list of what a rewriter could do wrong.

/// How a mutant does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Its answers are not those of row level security.
    Answer,
    /// Only together with something else: a hijacked name, another plan, a setting.
    Chance,
}

/// Something that a rewriter could do wrong.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What is wrong.
    pub name: &'static str,
    /// Where it can be wrong.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
    /// What comes of it.
    pub harm: Harm,
}

const fn wrong(name: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant {
        name,
        from,
        to,
        harm: Harm::Answer,
    }
}

const fn weak(name: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant {
        name,
        from,
        to,
        harm: Harm::Chance,
    }
}

/// All of them, by what they break.
pub const MUTANTS: &[Mutant] = &[
    // The predicate.
    wrong("predicate dropped", "@P AND", ""),
    wrong("only predicate dropped", "WHERE @P", ""),
    wrong("predicate replaced by true", "@P", "true"),
    wrong("OR instead of AND", "@P AND", "@P OR"),
    wrong("predicate OR true", "@P", "( @P OR true )"),
    wrong("predicate negated", "@P", "( NOT @P )"),
    wrong(
        "predicate true where it is false",
        "@P",
        "( ( @P ) IS NOT NULL )",
    ),
    wrong(
        "unequal instead of equal",
        "@c OPERATOR ( pg_catalog . = ) @v",
        "@c OPERATOR ( pg_catalog . <> ) @v",
    ),
    wrong(
        "at least instead of equal",
        "@c OPERATOR ( pg_catalog . = ) @v",
        "@c OPERATOR ( pg_catalog . >= ) @v",
    ),
    weak(
        "operator by the search path",
        "@c OPERATOR ( pg_catalog . = ) @v",
        "@c = @v",
    ),
    weak(
        "operator of another schema",
        "@c OPERATOR ( pg_catalog . = ) @v",
        "@c OPERATOR ( public . = ) @v",
    ),
    weak("cast dropped", "@n :: pg_catalog . @i", "@n"),
    weak(
        "type by the search path",
        "@n :: pg_catalog . @i",
        "@n :: @i",
    ),
    weak(
        "another type",
        "@n :: pg_catalog . @i",
        "@n :: pg_catalog . bpchar",
    ),
    wrong(
        "another parameter",
        "@n :: pg_catalog . @i",
        "@n+ :: pg_catalog . @i",
    ),
    wrong(
        "another tenant's value",
        "@n :: pg_catalog . uuid",
        "'b0000000-0000-0000-0000-000000000002' :: pg_catalog . uuid",
    ),
    wrong(
        "column compared with itself",
        "@c OPERATOR ( pg_catalog . = ) @v",
        "@c OPERATOR ( pg_catalog . = ) @c",
    ),
    wrong(
        "value compared with itself",
        "@c OPERATOR ( pg_catalog . = ) @v",
        "@v OPERATOR ( pg_catalog . = ) @v",
    ),
    wrong(
        "another column",
        "@i . @i2 OPERATOR ( pg_catalog . = ) @v",
        "@i . created_by OPERATOR ( pg_catalog . = ) @v",
    ),
    wrong(
        "the row's own id",
        "@i . org_id OPERATOR ( pg_catalog . = ) @v",
        "@i . id OPERATOR ( pg_catalog . = ) @v",
    ),
    weak(
        "column without its relation",
        "@i . @i2 OPERATOR ( pg_catalog . = ) @v",
        "@i2 OPERATOR ( pg_catalog . = ) @v",
    ),
    weak(
        "an alias that is not there",
        "@i . @i2 OPERATOR ( pg_catalog . = ) @v",
        "nobody . @i2 OPERATOR ( pg_catalog . = ) @v",
    ),
    wrong(
        "first predicate twice, second never",
        "@P1 @X @P2",
        "@P1 @X @P1",
    ),
    wrong(
        "second predicate twice, first never",
        "@P1 @X @P2",
        "@P2 @X @P2",
    ),
    wrong("first of two predicates lost", "@P1 AND @P2", "@P2"),
    wrong("second of two predicates lost", "@P1 AND @P2", "@P1"),
    // Levels.
    wrong(
        "subquery skipped",
        "( SELECT @X WHERE @P )",
        "( SELECT @X )",
    ),
    wrong(
        "CTE skipped",
        "AS ( SELECT @X WHERE @P )",
        "AS ( SELECT @X )",
    ),
    wrong("second branch skipped", "UNION @X WHERE @P", "UNION @X"),
    wrong(
        "RETURNING skipped",
        "RETURNING ( SELECT @X WHERE @P )",
        "RETURNING ( SELECT @X )",
    ),
    wrong(
        "predicate in the query around",
        "WHERE @P1 AND @X ( SELECT @Y WHERE @P2 AND",
        "WHERE @P1 AND @P2 AND @X ( SELECT @Y WHERE",
    ),
    wrong(
        "predicate of a subquery in the query around",
        "WHERE @P1 AND @X ( SELECT @Y WHERE @P2 )",
        "WHERE @P1 AND @P2 AND @X ( SELECT @Y )",
    ),
    wrong(
        "predicate in the subquery",
        "WHERE @P1 AND @X ( SELECT @Y WHERE @P2",
        "WHERE @X ( SELECT @Y WHERE @P2 AND @P1",
    ),
    // Joins.
    wrong(
        "guard join dropped",
        "( @X JOIN ( SELECT ) @i ON @P )",
        "@X",
    ),
    wrong(
        "guard join as an outer join",
        "JOIN ( SELECT ) @i ON",
        "LEFT JOIN ( SELECT ) @i ON",
    ),
    wrong(
        "guard join whose rows are many",
        "JOIN ( SELECT ) @i ON",
        "JOIN ( SELECT FROM pg_catalog . generate_series ( 1 , 2 ) ) @i ON",
    ),
    wrong(
        "predicate of the nullable side in WHERE",
        "LEFT JOIN ( @X JOIN ( SELECT ) @i ON @P ) ON @Y WHERE",
        "LEFT JOIN @X ON @Y WHERE @P AND",
    ),
    wrong(
        "predicate of a FULL JOIN in ON",
        "JOIN ( SELECT ) @i ON @P FULL JOIN @X ON",
        "FULL JOIN @X ON @P AND",
    ),
    wrong(
        "predicate in ON of the wrong join",
        "LEFT JOIN @X ON @Y WHERE @P",
        "LEFT JOIN @X ON @P AND @Y",
    ),
    wrong("outer join made an inner one", "LEFT JOIN", "JOIN"),
    // The barrier.
    wrong(
        "barrier dropped",
        "CASE WHEN @P THEN @X ELSE false END",
        "( @X )",
    ),
    weak(
        "barrier that lets all pass",
        "CASE WHEN @P THEN @X ELSE false END",
        "CASE WHEN @P THEN @X ELSE true END",
    ),
    wrong(
        "barrier with its branches swapped",
        "CASE WHEN @P THEN @X ELSE false END",
        "CASE WHEN @P THEN false ELSE @X END",
    ),
    wrong(
        "barrier inside out",
        "CASE WHEN @P THEN @X ELSE false END",
        "CASE WHEN @X THEN @P ELSE false END",
    ),
    wrong(
        "barrier of another relation",
        "@P1 @Y CASE WHEN @P THEN",
        "@P1 @Y CASE WHEN @P1 THEN",
    ),
    weak(
        "barrier without one of its predicates",
        "CASE WHEN @P1 AND @X THEN",
        "CASE WHEN @P1 THEN",
    ),
    weak(
        "barrier open for rows of the table",
        "OR @i . tableoid IS NULL",
        "OR @i . tableoid IS NOT NULL",
    ),
    weak(
        "HAVING not held back",
        "CASE WHEN pg_catalog . count ( * ) OPERATOR ( pg_catalog . >= ) 0 THEN @X ELSE false END",
        "( @X )",
    ),
    wrong("fence dropped", "OFFSET 0 )", ")"),
    weak("fence behind a predicate dropped", "@P OFFSET 0", "@P"),
    wrong(
        "a join that is a fence shows one table only",
        "( SELECT * FROM public . @i @i2 JOIN",
        "( SELECT @i2 . * FROM public . @i @i2 JOIN",
    ),
    weak(
        "a side of a FULL JOIN without its barrier",
        "CASE WHEN @P OR @i . tableoid IS NULL THEN @X END =",
        "( @X ) =",
    ),
    weak(
        "a side of a FULL JOIN with another barrier",
        "CASE WHEN @P OR @i . tableoid IS NULL THEN @X END =",
        "CASE WHEN @P OR true THEN @X END =",
    ),
    weak(
        "a CTE of the client's not materialised",
        "AS MATERIALIZED (",
        "AS (",
    ),
    // Writes.
    wrong("NULL instead of the fill", ", @v )", ", NULL )"),
    wrong("DEFAULT instead of the fill", ", @v )", ", DEFAULT )"),
    wrong(
        "fill lost",
        ", org_id ) VALUES ( @X , @v )",
        ") VALUES ( @X )",
    ),
    wrong(
        "fill of another column",
        ", org_id ) VALUES",
        ", created_by ) VALUES",
    ),
    wrong(
        "assignment of another value",
        "SET org_id = 'a0000000-0000-0000-0000-000000000001'",
        "SET org_id = 'b0000000-0000-0000-0000-000000000002'",
    ),
    wrong(
        "conflict unguarded",
        "DO UPDATE SET @X WHERE CASE WHEN @P THEN @Y ELSE @Z END",
        "DO UPDATE SET @X",
    ),
    wrong(
        "conflict silent",
        "DO UPDATE SET @X WHERE CASE WHEN @P THEN @Y ELSE @Z END",
        "DO UPDATE SET @X WHERE CASE WHEN @P THEN @Y ELSE false END",
    ),
    wrong(
        "conflict taken over",
        "DO UPDATE SET @X WHERE CASE WHEN @P THEN @Y ELSE @Z END",
        "DO UPDATE SET @X WHERE CASE WHEN @P THEN @Y ELSE true END",
    ),
    wrong("nothing raised", "@m OPERATOR", "'t' OPERATOR"),
    wrong(
        "check of a value dropped",
        "CASE WHEN CASE WHEN @s OPERATOR ( pg_catalog . = ) @v THEN true ELSE @Y END THEN @v END",
        "@s",
    ),
    weak(
        "check of a wrapped query's column dropped",
        "CASE WHEN CASE WHEN pgwarden_source . @i OPERATOR ( pg_catalog . = ) @v THEN true ELSE @Y END THEN @v END",
        "pgwarden_source . @i",
    ),
    wrong(
        "check that lets all pass",
        "CASE WHEN CASE WHEN @X OPERATOR ( pg_catalog . = ) @v THEN true ELSE @Y END THEN @v END",
        "CASE WHEN CASE WHEN @X OPERATOR ( pg_catalog . = ) @v THEN true ELSE true END THEN @v END",
    ),
    wrong(
        "check replaced by the value",
        "CASE WHEN CASE WHEN @X OPERATOR ( pg_catalog . = ) @v THEN true ELSE @Y END THEN @v END",
        "@v",
    ),
    wrong(
        "check that gives NULL",
        "CASE WHEN CASE WHEN @X OPERATOR ( pg_catalog . = ) @v THEN true ELSE @Y END THEN @v END",
        "CASE WHEN @X OPERATOR ( pg_catalog . = ) @v THEN @v END",
    ),
    wrong(
        "row of nothing not looked at",
        "pgwarden_row LEFT JOIN",
        "pgwarden_row JOIN",
    ),
    wrong(
        "NULL instead of the fill of a query",
        "SELECT @X , @v FROM",
        "SELECT @X , NULL FROM",
    ),
    wrong(
        "fill in front of a query's columns",
        "SELECT @X , @v FROM",
        "SELECT @v , @X FROM",
    ),
    wrong(
        "fill of a query lost",
        ", org_id ) SELECT @X , @v FROM",
        ") SELECT @X FROM",
    ),
    wrong(
        "column of a query's fill in front",
        "( @i , @X , org_id ) SELECT",
        "( org_id , @X , @i ) SELECT",
    ),
    wrong(
        "another column of a wrapped query",
        "pgwarden_source . pgwarden_2",
        "pgwarden_source . pgwarden_1",
    ),
    // Parents.
    wrong(
        "parent found by another column",
        "( SELECT FROM @X WHERE @i1 . @i2 OPERATOR ( pg_catalog . = ) @c AND",
        "( SELECT FROM @X WHERE @i1 . org_id OPERATOR ( pg_catalog . = ) @c AND",
    ),
    wrong(
        "parent compared with itself",
        "( SELECT FROM @X WHERE @c1 OPERATOR ( pg_catalog . = ) @c AND",
        "( SELECT FROM @X WHERE @c1 OPERATOR ( pg_catalog . = ) @c1 AND",
    ),
    wrong(
        "any parent of the tenant",
        "( SELECT FROM @X WHERE @c1 OPERATOR ( pg_catalog . = ) @c AND @P )",
        "( SELECT FROM @X WHERE @P )",
    ),
    wrong(
        "parent of any tenant",
        "( SELECT FROM @X WHERE @c1 OPERATOR ( pg_catalog . = ) @c AND @P )",
        "( SELECT FROM @X WHERE @c1 OPERATOR ( pg_catalog . = ) @c )",
    ),
    wrong(
        "another parent",
        "( SELECT FROM public . @i1 @i2 WHERE @c1 OPERATOR",
        "( SELECT FROM public . organizations @i2 WHERE @c1 OPERATOR",
    ),
    weak(
        "parent by the search path",
        "( SELECT FROM public . @i1 @i2 WHERE @c1 OPERATOR",
        "( SELECT FROM @i1 @i2 WHERE @c1 OPERATOR",
    ),
    wrong(
        "reference not looked up",
        "SELECT CASE WHEN @P THEN @X ELSE @Y END FROM",
        "SELECT @X FROM",
    ),
    wrong(
        "reference written in spite of it",
        "SELECT CASE WHEN @P THEN @X ELSE @Y END FROM",
        "SELECT CASE WHEN @P THEN @X ELSE @X END FROM",
    ),
    weak(
        "reference of another type",
        ":: pg_catalog . @i OFFSET 0",
        ":: pg_catalog . bpchar OFFSET 0",
    ),
    weak(
        "reference of no type",
        ":: pg_catalog . @i OFFSET 0",
        "OFFSET 0",
    ),
    weak(
        "reference that is nothing in place of an error",
        "ELSE @X END FROM ( SELECT @Y OFFSET 0 ) pgwarden_value",
        "END FROM ( SELECT @Y OFFSET 0 ) pgwarden_value",
    ),
    // Views.
    wrong(
        "view read by its name",
        "( SELECT @X ) @i",
        "public . @i @i",
    ),
    weak("a temporary view that is no fence", "OFFSET 0 @$", "@$"),
    weak(
        "a temporary view that lasts",
        "CREATE TEMPORARY VIEW",
        "CREATE VIEW",
    ),
    // Tables that the session or the message makes.
    weak("a temporary name by the path", "pg_temp . @i", "@i"),
    weak(
        "a temporary name in another schema",
        "pg_temp . @i",
        "public . @i",
    ),
    weak(
        "a made table where the path says",
        "CREATE TABLE @i1 . @i2 (",
        "CREATE TABLE @i2 (",
    ),
    weak(
        "a made table in another schema",
        "CREATE TABLE @i1 . @i2 (",
        "CREATE TABLE app . @i2 (",
    ),
    weak(
        "a table that may be another's",
        "CREATE TABLE @i1 . @i2 (",
        "CREATE TABLE IF NOT EXISTS @i1 . @i2 (",
    ),
    weak(
        "a made table that is temporary",
        "CREATE TABLE @i1 . @i2 (",
        "CREATE TEMPORARY TABLE @i2 (",
    ),
    weak(
        "a table used before it is made",
        "CREATE TABLE @X ; @Y ;",
        "@Y ; CREATE TABLE @X ;",
    ),
    weak(
        "another table dropped",
        "DROP TABLE @i1 . @i2",
        "DROP TABLE public . holidays",
    ),
    weak(
        "the table dropped with all that needs it",
        "DROP TABLE @i1 . @i2",
        "DROP TABLE @i1 . @i2 CASCADE",
    ),
    // Channels.
    weak("channel not looked up", "COALESCE ( @X , @Y )", "( @X )"),
    weak(
        "channel of another list",
        "ARRAY [ @s",
        "ARRAY [ 'anything'",
    ),
    // COPY.
    wrong("copied rows not filtered", "WHERE @P ) TO", ") TO"),
    weak(
        "children copied, too",
        "COPY ( SELECT @X FROM ONLY",
        "COPY ( SELECT @X FROM",
    ),
    weak(
        "columns copied in another order",
        "COPY ( SELECT @i1 , @i2 ,",
        "COPY ( SELECT @i2 , @i1 ,",
    ),
    weak(
        "rows copied into other columns",
        "COPY @X ( @i1 , @i2",
        "COPY @X ( @i2 , @i1",
    ),
    weak(
        "rows copied into another table",
        "COPY public . @i (",
        "COPY public . holidays (",
    ),
    weak(
        "the tenant column of copied rows lost",
        ", org_id ) FROM STDIN",
        ") FROM STDIN",
    ),
    wrong(
        "another table copied out",
        "FROM ONLY public . @i",
        "FROM ONLY public . holidays",
    ),
    // Names.
    weak("relation by the search path", "FROM public . @i", "FROM @i"),
    weak(
        "relation of another schema",
        "FROM public . @i",
        "FROM pg_temp . @i",
    ),
    wrong(
        "another relation",
        "FROM public . @i",
        "FROM public . holidays",
    ),
    weak(
        "the relation without its children",
        "FROM public . @i",
        "FROM ONLY public . @i",
    ),
    wrong(
        "another table written",
        "INTO public . @i",
        "INTO public . holidays",
    ),
    wrong(
        "another table updated",
        "UPDATE public . @i",
        "UPDATE public . holidays",
    ),
    // What the client wrote.
    wrong(
        "the client's condition lost",
        "WHERE @P AND @X @$",
        "WHERE @P",
    ),
    wrong(
        "the client's condition first, with OR",
        "WHERE @P AND @X @$",
        "WHERE @P AND ( @X OR true )",
    ),
    wrong("RETURNING lost", "RETURNING @X @$", ""),
    wrong("RETURNING added", "@P @$", "@P RETURNING *"),
    wrong("LIMIT lost", "LIMIT @X @$", ""),
    weak("lock lost", "FOR UPDATE", ""),
    wrong("DISTINCT lost", "SELECT DISTINCT", "SELECT"),
    wrong("duplicates kept", "UNION SELECT", "UNION ALL SELECT"),
    wrong("another order", "ORDER BY @X @$", ""),
    wrong(
        "a statement added",
        "@P @$",
        "@P ; DELETE FROM public . leads",
    ),
];
