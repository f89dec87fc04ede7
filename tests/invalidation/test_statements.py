"""What an SQL text writes and reads: each form of statement, in each dialect."""

# ruff: noqa: S608 -- no database is given these texts

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import sql as psycopg_sql

from cachedeco.invalidation import sql_tokens
from cachedeco.invalidation.statements import EVERYTHING, PLACES, Parser, Statement
from tests.support.cases import in_one_test

NAMES = ["shop_shop", "shop_item", "order", "group", "Shop_UPPER", 'my"."tab', "café", "name", "old table", "quick"]
STAND_INS = {"shop_itemview": ["shop_item", "shop_shop"], "archive": ["shop_shop"]}
TABLES = Parser(NAMES, STAND_INS)
PLAIN = Parser(["shop_shop", "shop_item"])

SHOP = {"shop_shop"}
ITEM = {"shop_item"}
BOTH = SHOP | ITEM


def statement_of(sql: object) -> Statement:
    """Return what a text does to the tables above."""
    return TABLES.statement_of(sql)


READS = [
    ('SELECT "shop_shop"."id" FROM "shop_shop"', SHOP),
    ("select id from SHOP_SHOP", SHOP),
    ("SELECT `shop_shop`.`id` FROM `shop_shop` INNER JOIN `shop_item` ON (1)", BOTH),
    ("SELECT 1 FROM [shop_shop]", SHOP),
    ("SELECT 1 FROM 'shop_shop'", SHOP),  # SQLite takes it
    ('SELECT 1 FROM "public"."shop_shop"', SHOP),
    ("SELECT 1 FROM public . shop_shop", SHOP),
    ("SELECT 1 FROM .shop_shop, .order JOIN .shop_item ON 1", BOTH | {"order"}),  # MySQL takes it
    ('SELECT "my"."tab"."x" FROM "my"."tab"', {'my"."tab'}),
    ('SELECT 1 FROM "old table"', {"old table"}),
    ('SELECT 1 FROM "Shop_UPPER", café', {"Shop_UPPER", "café"}),
    ('SELECT "order"."name" FROM "shop_shop" AS "order" ORDER BY "order"."name"', SHOP),
    ('SELECT "order"."id" FROM "order" GROUP BY 1 ORDER BY 1 LIMIT 3', {"order"}),
    # lists of tables
    ("SELECT 1 FROM shop_shop, shop_item WHERE x IN (1, name)", BOTH),
    ('SELECT 1 FROM "shop_shop", "shop_item"', BOTH),
    ('SELECT 1 FROM "shop_shop" AS "a", "shop_item" AS "b", "group"', BOTH | {"group"}),
    ('SELECT 1 FROM "shop_shop" "a" JOIN x ON "a"."b" = "x"."c", "shop_item" WHERE 1', BOTH),
    ("SELECT 1 FROM shop_shop a JOIN x ON f(a, name), shop_item", BOTH),
    ("SELECT 1 FROM (shop_shop, shop_item)", BOTH),
    ("SELECT 1 FROM (shop_shop JOIN shop_item USING (name, id))", BOTH),
    ('SELECT 1 FROM shop_shop LEFT OUTER JOIN shop_item USING (name), "order" WHERE 1', BOTH | {"order"}),
    ("SELECT 1 FROM ONLY shop_shop, LATERAL (SELECT 1 FROM shop_item) AS name", BOTH),
    ("SELECT 1 FROM shop_shop NATURAL JOIN shop_item", BOTH),
    ("SELECT 1 FROM shop_shop STRAIGHT_JOIN shop_item", BOTH),
    ("SELECT 1 FROM shop_shop FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-01', shop_item", BOTH),
    ("SELECT 1 FROM shop_shop USE INDEX FOR ORDER BY (name), shop_item", BOTH),
    ("SELECT 1 FROM shop_shop USE INDEX FOR JOIN (name), shop_item", BOTH),
    ("SELECT 1 FROM shop_shop AS offset, shop_item", BOTH),
    ("SELECT 1 FROM shop_shop window, shop_item", BOTH),
    ("SELECT 1 FROM unnest(%s) WITH ORDINALITY AS o (a, name), shop_item", ITEM),
    # a FROM of something else
    ('SELECT EXTRACT(year FROM "name") FROM shop_shop', SHOP),
    ("SELECT SUBSTRING(name FROM 1), TRIM(BOTH FROM name), OVERLAY(a PLACING b FROM name FOR 2) FROM shop_shop", SHOP),
    ("SELECT CONVERT(name USING utf8mb4) FROM shop_shop", SHOP),
    ("SELECT 1 FROM shop_shop WHERE a IS DISTINCT FROM name AND b IS NOT DISTINCT FROM name", SHOP),
    ("SELECT EXTRACT(year FROM (SELECT max(day) FROM shop_item)) FROM shop_shop", BOTH),
    ("SELECT DISTINCT FROM shop_shop", SHOP),
    # subqueries, sets, CTEs
    ('SELECT 1 FROM "shop_shop" WHERE EXISTS(SELECT 1 AS "a" FROM "shop_item" U0 LIMIT 1)', BOTH),
    ("(SELECT a FROM shop_shop) UNION (SELECT REPLACE(a, b) FROM shop_item)", BOTH),
    ('SELECT * FROM (SELECT 1 FROM shop_shop) name JOIN (SELECT 1 FROM shop_item) "group" ON 1', BOTH),
    ("SELECT * FROM (VALUES (1, 2), (3, 4)) AS v (a, name), shop_item", ITEM),
    ("WITH x AS (SELECT 1 FROM shop_shop), y (a, name) AS NOT MATERIALIZED (SELECT 1 FROM x) SELECT 1 FROM y", SHOP),
    ("WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT n FROM x) SELECT 1 FROM x, shop_item", ITEM),
    ("WITH shop_shop AS (SELECT * FROM shop_shop) SELECT * FROM shop_shop", SHOP),
    ("SELECT 1 WHERE 1 IN (WITH x AS (SELECT 1 FROM shop_item) SELECT 1 FROM x)", ITEM),
    ("SELECT 1 IN shop_shop, 2 NOT IN main.'shop_item'", BOTH),  # SQLite takes it
    # words that are verbs elsewhere
    ('SELECT "update", "delete"."insert" FROM shop_shop', SHOP),
    ("SELECT a.update, REPLACE(a, 'b', 'c'), INSERT(a, 1, 2, 'x') FROM shop_shop a", SHOP),
    ("WITH x AS (SELECT REPLACE(a, b), INSERT(a) FROM shop_shop) SELECT * FROM x FOR UPDATE", SHOP),
    ('SELECT 1 FROM "shop_shop" FOR UPDATE OF "order", "name" NOWAIT', SHOP),
    ("SELECT 1 FROM shop_shop FOR NO KEY UPDATE SKIP LOCKED", SHOP),
    ("SELECT 1 FROM shop_shop LOCK IN SHARE MODE", SHOP),
    # literals and comments
    ("SELECT 'UPDATE shop_item' FROM shop_shop", SHOP),
    ("SELECT 'it''s FROM shop_item' FROM shop_shop", SHOP),
    ("SELECT 1 FROM shop_shop JOIN x ON a = 'b, name'", SHOP),
    (
        "SELECT 1 FROM \"shop_shop\" WHERE a LIKE %s ESCAPE '\\' OR b LIKE %s ESCAPE '\\' AND c LIKE 'x' ESCAPE '\\'",
        SHOP,
    ),
    ("SELECT E'it\\'s FROM shop_item' FROM shop_shop -- FROM shop_item", SHOP),
    ("SELECT $$it's FROM shop_item$$, $a$ $$FROM name$a$ FROM shop_shop", SHOP),
    ("SELECT $1 FROM shop_shop WHERE a$b = $2", SHOP),
    # numbers
    ("SELECT (SELECT .5 * max(a) FROM shop_item) FROM shop_shop", BOTH),
    ("SELECT a / 2. FROM shop_shop WHERE b = 1.5", SHOP),
    ("SELECT 1.FROM shop_shop", SHOP),
    ("/* FROM shop_item; it's */ SELECT 1 -- DELETE, isn't\nFROM shop_shop", SHOP),
    ("SELECT data #> '{a}', data #>> '{b}' FROM shop_shop", SHOP),
    # other reading verbs
    ("VALUES ((SELECT 1 FROM shop_shop))", SHOP),
    ("TABLE shop_shop", SHOP),
    ("SELECT * FROM (TABLE shop_shop) AS a, LATERAL (TABLE shop_item LIMIT 1) AS b", BOTH),
    ("SELECT * FROM TABLE (archive(1)), (table)", SHOP),
    ("SET @a = (SELECT max(a) FROM shop_shop)", SHOP),
    ("SET STATEMENT max_statement_time = 1 FOR SELECT 1 FROM shop_shop", SHOP),
    ("DECLARE c CURSOR FOR SELECT 1 FROM shop_shop", SHOP),
    ("EXPLAIN SELECT 1 FROM shop_shop", SHOP),
    ("EXPLAIN QUERY PLAN DELETE FROM shop_shop", SHOP),
    ("EXPLAIN ANALYZE SELECT 1 FROM shop_shop", SHOP),
    ("COPY shop_shop TO STDOUT", SHOP),
    ("COPY shop_shop (a, name) TO STDOUT", SHOP),
    ("COPY (SELECT (1) FROM shop_shop) TO STDOUT", SHOP),
    # what stands for tables
    ("SELECT * FROM shop_itemview", BOTH),
    ("SELECT public.archive(1)", SHOP),
    ("SELECT * FROM archive(1)", SHOP),
    ("SELECT 1 FROM dual", set()),
    ("SELECT 1;", set()),
    ("SELECT 1) FROM shop_shop", SHOP),
    (f"SELECT 1 FROM shop_shop /* {'/* a */' * 60}", SHOP),
    ("SELECT 1 FROM shop_shop; SELECT 2 FROM shop_item;", BOTH),
]


@in_one_test(READS)
def test_read_names_the_tables_in_position(sql: str, expected: set[str]) -> None:
    """A read writes nothing, and reads the tables that stand where tables stand, and no others."""
    found = statement_of(sql)

    assert (set(), expected, False, "") == (found.writes, found.reads, found.everything, found.cascades)


WRITES = [
    # one verb, one target
    ('INSERT INTO "shop_shop" ("name", "order") VALUES (%s, %s) RETURNING "shop_shop"."id"', SHOP, set()),
    ("INSERT INTO shop_shop (name) SELECT name FROM shop_item", SHOP, ITEM),
    ("INSERT INTO shop_shop SELECT * FROM UNNEST(%s) ON CONFLICT (id) DO UPDATE SET name = excluded.name", SHOP, set()),
    ("INSERT INTO shop_shop (a) VALUES (1) ON DUPLICATE KEY UPDATE name = VALUES(name)", SHOP, set()),
    ("INSERT OR IGNORE INTO shop_shop VALUES (1)", SHOP, set()),
    ("INSERT INTO .shop_shop SELECT 1 FROM .`shop_item`", SHOP, ITEM),
    ("UPDATE .shop_shop SET a = 1", SHOP, set()),
    ("INSERT IGNORE INTO `shop_shop` VALUES (1)", SHOP, set()),
    ("INSERT INTO shop_shop WITH x AS (SELECT 1 FROM shop_item) SELECT * FROM x", SHOP, ITEM),
    ("REPLACE INTO shop_shop SELECT * FROM shop_item", SHOP, ITEM),
    ('UPDATE "shop_shop" SET "name" = %s WHERE "shop_shop"."id" = %s', SHOP, set()),
    ("update SHOP_SHOP set name = %s", SHOP, set()),
    ('UPDATE "my"."tab" SET "x" = %s', {'my"."tab'}, set()),
    ("UPDATE ONLY public.shop_shop AS s SET a = i.a FROM shop_item i, name WHERE 1", SHOP, ITEM | {"name"}),
    ("UPDATE OR REPLACE shop_shop SET a = (SELECT max(b) FROM shop_item)", SHOP, ITEM),
    ("UPDATE shop_shop s SET a = EXTRACT(year FROM name)", SHOP, set()),
    ('DELETE FROM "shop_shop" WHERE "shop_shop"."id" IN (SELECT U0."id" FROM "shop_item" U0)', SHOP, ITEM),
    ("DELETE FROM shop_shop", SHOP, set()),
    ("DELETE FROM ONLY shop_shop s USING shop_item, name WHERE (a, b) IN (1, 2)", SHOP, ITEM | {"name"}),
    ('DELETE FROM shop_shop USING (shop_item JOIN name USING ("order"))', SHOP, ITEM | {"name"}),
    ("MERGE INTO shop_shop t USING shop_item s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name", SHOP, ITEM),
    ("MERGE INTO shop_shop USING (SELECT 1 FROM shop_item) s ON 1 WHEN MATCHED THEN DELETE", SHOP, ITEM),
    ("COPY shop_shop FROM STDIN", SHOP, set()),
    ('COPY "shop_shop" ("a", "name") FROM STDIN', SHOP, set()),
    ("COPY (DELETE FROM shop_shop RETURNING *) TO STDOUT", SHOP, set()),
    # CTEs
    ("WITH w AS (UPDATE shop_shop SET a = 1 RETURNING id) SELECT * FROM w, shop_item", SHOP, ITEM),
    ("WITH w AS (DELETE FROM shop_shop USING name RETURNING id) SELECT * FROM shop_item", SHOP, ITEM | {"name"}),
    ("WITH w AS (SELECT 1 FROM shop_item) INSERT INTO shop_shop SELECT * FROM w", SHOP, ITEM),
    ("WITH w AS (SELECT 1 FROM shop_item) REPLACE INTO shop_shop SELECT * FROM w", SHOP, ITEM),
    ("WITH w AS (DELETE FROM shop_shop RETURNING *) INSERT INTO shop_item SELECT * FROM w", BOTH, BOTH),
    (
        "WITH w AS (INSERT INTO shop_shop SELECT * FROM name RETURNING *) INSERT INTO shop_item SELECT * FROM w",
        BOTH,
        BOTH | {"name"},
    ),
    (
        "WITH w AS (INSERT INTO shop_shop VALUES (1)) MERGE INTO shop_item USING w ON 1 WHEN MATCHED THEN DELETE",
        BOTH,
        BOTH,
    ),
    # several tables, or a form that is not known
    ("UPDATE `shop_shop`, `shop_item` SET a = 1", BOTH, BOTH),
    ("UPDATE shop_shop s INNER JOIN shop_item i ON s.id = i.id SET s.a = 1, i.b = 2", BOTH, BOTH),
    ("DELETE `shop_shop` FROM `shop_shop` INNER JOIN `shop_item` ON (1)", BOTH, BOTH),
    ("DELETE FROM shop_shop, shop_item USING shop_shop INNER JOIN shop_item", BOTH, BOTH),
    ("DELETE FROM s USING shop_shop AS s JOIN shop_item", BOTH, BOTH),
    ("UPDATE s SET a = 1 FROM shop_shop s", SHOP, SHOP),
    ("DELETE FROM quick x WHERE 1", {"quick"}, {"quick"}),
    ("UPDATE [main].[shop_shop] SET [a] = 1 WHERE b LIKE '[%'", SHOP, set()),
    ("INSERT INTO [main].[old table] ([a]) VALUES (1)", {"old table"}, set()),
    ("INSERT INTO -- it's old\n[main].[old table] ([a]) SELECT 'b'", {"old table"}, set()),
    ("UPDATE shop_shop SET a[1] = ARRAY[(SELECT max(b) FROM shop_item)], c = %s::integer[]", SHOP, ITEM),
    ("INSERT shop_shop VALUES (1)", SHOP, set()),
    ("INSERT IGNORE shop_shop SELECT a FROM shop_item", SHOP, ITEM),
    ("REPLACE shop_shop SET a = 1", SHOP, set()),
    ("INSERT shop_shop", SHOP, SHOP),
    ("INSERT ALL INTO shop_shop VALUES (1) INTO shop_item VALUES (2) SELECT 1 FROM dual", BOTH, BOTH),
    ("INSERT INTO (SELECT a FROM shop_shop) VALUES (1)", SHOP, SHOP),
    ("SELECT * INTO shop_shop FROM shop_item", SHOP, ITEM),
    ("SELECT a INTO TEMP TABLE shop_shop FROM shop_item, name", SHOP, ITEM | {"name"}),
    ("SELECT a, b INTO @a, @b FROM shop_item", set(), ITEM),
    ("SELECT a INTO x FROM shop_shop UNION SELECT b INTO y FROM shop_item", BOTH, BOTH),
    ("MERGE shop_shop AS a b c USING shop_item", BOTH, BOTH),
    ("COPY BINARY shop_shop FROM STDIN", SHOP, SHOP),
    ("(UPDATE shop_shop SET a = 1)", SHOP, SHOP),
    ("LOAD DATA INFILE 'x' INTO TABLE shop_shop", SHOP, SHOP),
    ("LOAD DATA INFILE 'x' REPLACE INTO TABLE shop_shop (a) SET b = (SELECT 1 FROM shop_item)", SHOP, BOTH),
    ("SET STATEMENT max_statement_time = 1 FOR UPDATE shop_shop SET a = 1", SHOP, set()),
    ("ANALYZE TABLE shop_shop", SHOP, SHOP),
    # executed by another verb
    ("EXPLAIN ANALYZE UPDATE shop_shop SET a = 1", SHOP, set()),
    ("EXPLAIN (ANALYZE, BUFFERS) DELETE FROM shop_shop", SHOP, set()),
    ("ANALYZE FORMAT=JSON UPDATE shop_shop SET a = 1", SHOP, set()),
    ("PREPARE p AS UPDATE shop_shop SET a = 1", SHOP, SHOP),
    ("CALL archive(1)", SHOP, SHOP),
    ("CALL public.archive(1)", SHOP, SHOP),
    # DDL
    ('CREATE TABLE "shop_shop" ("id" integer)', SHOP, SHOP),
    ("CREATE TABLE shop_shop (a, b DEFAULT (1)) AS SELECT a, b FROM shop_item", SHOP, ITEM),
    ("CREATE TEMP TABLE x AS WITH y AS (SELECT 1 FROM shop_item) SELECT * FROM y", set(), ITEM),
    ("CREATE TABLE x AS (SELECT 1 FROM shop_item)", set(), ITEM),
    ("CREATE TABLE x AS TABLE shop_item", set(), ITEM),
    ("CREATE OR REPLACE VIEW shop_itemview AS SELECT 1 FROM name", BOTH, {"name"}),
    ("CREATE TABLE shop_shop AS", SHOP, SHOP),
    ("CREATE TABLE shop_shop (a GENERATED ALWAYS AS (b) STORED)", SHOP, SHOP),
    ("CREATE PROCEDURE p AS SELECT 1 FROM shop_shop", SHOP, SHOP),
    ('ALTER TABLE "new__shop_shop" RENAME TO "shop_shop"', SHOP, SHOP),
    ('DROP TABLE "shop_shop"', SHOP, SHOP),
    ('TRUNCATE "shop_shop", "shop_item"', BOTH, BOTH),
    ("TRUNCATE TABLE ONLY my.tab, shop_item CASCADE", {'my"."tab'} | ITEM, {'my"."tab'} | ITEM),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY shop_itemview", BOTH, BOTH),
    ("VACUUM ANALYZE shop_shop", SHOP, SHOP),
    ("ANALYZE shop_shop", SHOP, SHOP),
    ("CREATE FUNCTION f() RETURNS int AS $$ BEGIN UPDATE shop_shop SET a = 1; END $$ LANGUAGE plpgsql", SHOP, SHOP),
    ("CREATE TRIGGER t AFTER UPDATE ON shop_shop BEGIN IF a THEN DELETE FROM shop_item; END IF; END", BOTH, BOTH),
    # comments, literals, several statements, readings
    ("/* x */ UPDATE shop_shop SET a = 1", SHOP, set()),
    ("-- x\nUPDATE shop_shop SET a = 1", SHOP, set()),
    ("--x\nUPDATE shop_shop SET a = 1", SHOP, set()),
    ("# x\nUPDATE shop_shop SET a = 1", SHOP, set()),
    ("/* a /* b */ c */ UPDATE shop_shop SET a = 1", SHOP, set()),
    ("/*!50100 UPDATE shop_shop */ SET a = 1", SHOP, set()),
    ("UPDATE shop_shop SET a = 'DELETE FROM shop_item'", SHOP, set()),
    ("UPDATE shop_shop SET a = 'it\\'s'", SHOP, set()),
    ("SELECT 1; UPDATE shop_shop SET a = 1", SHOP, set()),
    ("UPDATE shop_shop SET a = 1; SELECT 1 FROM shop_item", SHOP, ITEM),
    ("SAVEPOINT x; DELETE FROM shop_shop", SHOP, set()),
    ("SET x = 1; UPDATE shop_shop SET a = 1", SHOP, set()),
    ("SET NOCOUNT ON INSERT INTO [shop_shop] ([a]) VALUES (%s) ;SELECT CAST(SCOPE_IDENTITY() AS bigint)", SHOP, set()),
    ("SET NOCOUNT ON WITH x AS (SELECT 1 FROM shop_item) UPDATE shop_shop SET a = (SELECT 1 FROM x)", SHOP, ITEM),
    ("UPDATE shop_shop SET a = 'open", SHOP, SHOP),
]


@in_one_test(WRITES)
def test_write_names_its_target(sql: str, writes: set[str], reads: set[str]) -> None:
    """A write names the table that it writes; all tables that it names if its form is not known."""
    found = statement_of(sql)

    assert writes == found.writes
    assert reads == found.reads - (set() if reads & writes else writes)
    # A reading in which the text is no SQL may add this.
    assert not found.everything or sql.startswith(("#", "/*!"))


@in_one_test(
    [
        "CALL unknown('shop_shop')",
        "CALL",
        "EXECUTE prepared",
        "DO $$ BEGIN PERFORM f(); END $$",
        "DO $$ BEGIN UPDATE shop_shop SET a = 'it''s'; END $$",
        "/* x */ DO $$ BEGIN UPDATE some_view SET a = shop_shop.a FROM shop_shop; END $$",
        "COMMIT PREPARED 'x'",
        "BEGIN f(); END",
        "BEGIN NOT ATOMIC UPDATE some_view SET a = (SELECT 1 FROM shop_shop); END",
        "IF (SELECT 1 FROM shop_shop) THEN UPDATE some_view SET a = 1; END IF",
        "here: BEGIN NOT ATOMIC UPDATE some_view SET a = (SELECT 1 FROM shop_shop); END",
        "`a b`: LOOP UPDATE some_view SET a = (SELECT 1 FROM shop_shop); END LOOP",
        "SET STATEMENT max_statement_time = 1 FOR CALL f()",
        "START SLAVE",
        "frobnicate",
        "'",
        "SELECT 'open",
        "DROP SCHEMA tenant CASCADE",
        'WITH w AS (DELETE FROM shop_item) UPDATE U&"shop\\005fshop" SET a = 1',
        "ALTER SCHEMA tenant RENAME TO public",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'glad'",
        "DROP TYPE IF EXISTS mood CASCADE",
        "DROP DOMAIN mood",
        "DROP EXTENSION hstore CASCADE",
        "TRUNCATE elsewhere CASCADE",
        "TRUNCATE shop_shop, elsewhere CASCADE",
        "UPDATE elsewhere, too SET a = 1",
        "SELECT 1; CALL f()",
        "CREATE TABLE x (event int); CALL f()",
        "CREATE PROCEDURE f() AS $$ SELECT 1 $$; CALL f()",
        "CREATE FUNCTION f() AS $$ SELECT 1 $$; EXECUTE g",
    ],
)
def test_statement_that_names_no_known_table_concerns_every_table(sql: str) -> None:
    """A statement of which nothing is known concerns every table."""
    assert statement_of(sql).everything


@in_one_test(
    [
        "CREATE TABLE elsewhere (id int)",
        "CREATE INDEX i ON elsewhere (a)",
        "ALTER TABLE elsewhere ADD COLUMN a int",
        "ALTER DATABASE elsewhere SET work_mem = 1",
        "DROP TABLE elsewhere CASCADE",
        "ALTER TYPE mood ADD VALUE 'shop_shop'",
        "COMMENT ON TABLE elsewhere IS 'shop_shop'",
        "ANALYZE elsewhere",
        "VACUUM",
        "TRUNCATE elsewhere",
        "REFRESH MATERIALIZED VIEW elsewhere",
        "INSERT INTO elsewhere (a) SELECT a FROM shop_shop",
        "UPDATE elsewhere SET a = (SELECT b FROM shop_shop)",
        "DELETE FROM elsewhere WHERE a IN (SELECT b FROM shop_shop)",
        "COPY elsewhere FROM STDIN",
        "WITH w AS (DELETE FROM elsewhere RETURNING *) INSERT INTO archives SELECT * FROM w",
        "LOCK TABLE shop_shop",
        "SHOW TABLES",
        "USE elsewhere",
        "KILL QUERY 7",
        "LOAD 'auto_explain'",
        "LOAD DATA LOCAL INFILE 'shop_shop' INTO TABLE elsewhere",
        "LOAD DATA LOCAL INFILE 'x' INTO TABLE",
        "ATTACH DATABASE 'shop_shop' AS elsewhere",
        "NOTIFY shop_shop",
        "PRAGMA table_info(shop_shop)",
        "SET search_path = tenant",
        "DESCRIBE shop_shop",
        "",
        " ; ",
        "-- nothing",
        "((",
    ],
)
def test_what_concerns_other_tables_writes_nothing(sql: str) -> None:
    """Migrations of other apps, maintenance and tables of no model invalidate nothing."""
    found = PLAIN.statement_of(sql)

    assert (set(), False) == (found.writes, found.everything)


@in_one_test(
    [
        ("SELECT * FROM some_view", {"some_view"}),
        ('SELECT * FROM "Public"."Some_View" v', {"public.some_view"}),
        ('SELECT * FROM public . "Some_View" v', {"public.some_view"}),
        ("SELECT * FROM shop_shop, report(1)", {"report"}),
        ("SELECT * FROM information_schema.tables", {"information_schema.tables"}),
        ("SELECT * FROM sqlite_master JOIN pg_class", {"sqlite_master", "pg_class"}),
        ("INSERT INTO shop_shop SELECT * FROM some_view", {"some_view"}),
        (
            "WITH a AS (INSERT INTO shop_shop VALUES (1)), b AS (DELETE FROM shop_item) SELECT * FROM v",
            {"shop_item", "v"},
        ),
        ("FETCH 10 FROM c", {"c"}),
        ("COPY some_view TO STDOUT", {"some_view"}),
        ('WITH "x" AS (SELECT 1) SELECT * FROM x, "x" y', set()),
        ("WITH v AS (SELECT * FROM v) SELECT * FROM v", {"v"}),
        ("WITH x AS (SELECT 1), v (a) AS MATERIALIZED (SELECT * FROM v, x) SELECT * FROM v", {"v"}),
        ("WITH v AS (SELECT 1) SELECT * FROM v, public.v", {"public.v"}),
        ("SELECT * FROM (WITH v AS (SELECT 1) SELECT * FROM v) x, v", {"v"}),
        ("WITH x AS (WITH v AS (SELECT 1) SELECT * FROM v) SELECT * FROM x, v", {"v"}),
        ("WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x", {"y"}),
        ("WITH RECURSIVE v (n) AS (SELECT 1 UNION SELECT n FROM v) SELECT * FROM v", set()),
        ("WITH RECURSIVE x AS (WITH y AS (SELECT 1) SELECT * FROM y), v AS (SELECT * FROM v) SELECT * FROM v", set()),
        ("WITH v (n) AS ((SELECT 1) UNION ALL (SELECT n FROM (SELECT * FROM v))) SELECT * FROM v", set()),
        ("WITH v AS (SELECT 1), x AS (SELECT 1 WHERE 1 IN (SELECT 1 FROM v)) SELECT 1 UNION SELECT * FROM v, x", set()),
        ("SELECT * FROM shop_shop WHERE id IN v AND id NOT IN main.w", {"v", "main.w"}),
        ("SELECT 1 WHERE 1 IN %s AND POSITION('a' IN b) = 1 AND c IN (1, 2)", set()),
        ("SELECT 1 FROM shop_shop WHERE MATCH (a) AGAINST ('b' IN NATURAL LANGUAGE MODE) LOCK IN SHARE MODE", set()),
        ("SELECT * FROM generate_series(1, 3), json_each(a), jsonb_to_recordset(b) AS c (a int, b text)", set()),
        ("SELECT * FROM shop_shop, websearch_to_tsquery('english', a) q, pg_catalog.unnest(b)", set()),
        ("SELECT * FROM generate_series", {"generate_series"}),
        ("SELECT * FROM public.generate_series(1)", {"public.generate_series"}),
        ("SELECT * FROM window", {"window"}),
        ("SELECT * FROM window WHERE 1", {"window"}),
        ("SELECT * FROM apply WHERE 1", {"apply"}),
        ("SELECT * FROM shop_shop CROSS APPLY f(1)", {"f"}),
        ("EXPLAIN SELECT * FROM some_view", {"some_view"}),
        # what tables there are
        ("DESCRIBE shop_shop", {"information_schema.columns"}),
        ("EXPLAIN shop_shop", {"information_schema.columns"}),
        ("SHOW TABLES", {"information_schema.tables"}),
        ("SHOW FULL COLUMNS FROM shop_shop", {"information_schema.tables"}),
        ("SHOW CREATE VIEW some_view", {"information_schema.tables"}),
        ("SHOW transaction_isolation", set()),
        ("SHOW VARIABLES LIKE 'table%'", set()),
        ("PRAGMA main.table_info(shop_shop)", {"sqlite_master"}),
        ("PRAGMA foreign_key_check", {"sqlite_master"}),
        ("PRAGMA foreign_keys", set()),
        ("PRAGMA", set()),
    ],
)
def test_names_of_no_known_table_are_unknown(sql: str, expected: set[str]) -> None:
    """Views, functions in FROM and the database's own tables are named; CTEs and pure functions are not."""
    found = statement_of(sql)

    assert expected == found.unknown | (expected & found.reads)
    assert not found.everything


@in_one_test(
    [
        ("INSERT INTO some_view (a) VALUES (1)", {"some_view"}),
        ('UPDATE "Public"."Some_View" SET a = 1', {"public.some_view"}),
        ("UPDATE public /* x */ . some_view SET a = 1", {"public.some_view"}),
        ("UPDATE some_view SET a = i.a FROM shop_item i", {"some_view"}),
        ("DELETE FROM ONLY part_1", {"part_1"}),
        ("REPLACE INTO `some_view` VALUES (1)", {"some_view"}),
        ("MERGE INTO part_1 USING shop_item ON 1 WHEN MATCHED THEN DELETE", {"part_1"}),
        ("WITH x AS (DELETE FROM shop_shop RETURNING *) INSERT INTO part_1 SELECT * FROM x", {"part_1"}),
        ("COPY part_1 (a) FROM STDIN", {"part_1"}),
        ("LOAD DATA INFILE 'x' INTO TABLE s.part_1 (a)", {"s.part_1"}),
        ("TRUNCATE TABLE ONLY part_1, shop_shop, s.part_2 RESTART IDENTITY", {"part_1", "s.part_2"}),
        ('DROP TABLE IF EXISTS "part_1", "part_2" CASCADE', {"part_1", "part_2"}),
        ("DROP VIEW some_view, shop_shop", {"some_view"}),
        ("CREATE OR REPLACE TEMP VIEW some_view (a) AS SELECT a FROM some_table", {"some_view"}),
        ("CREATE VIEW IF NOT EXISTS some_view AS SELECT 1", {"some_view"}),
        ("ALTER VIEW IF EXISTS some_view RENAME TO other_view", {"some_view", "other_view"}),
        ("UPDATE some_view SET a = 1; DELETE FROM part_1", {"some_view", "part_1"}),
        ("INSERT some_view SELECT a FROM shop_item", {"some_view"}),
        ("UPDATE some_view JOIN shop_item i ON 1 SET some_view.a = 1", {"some_view"}),
        ("UPDATE LOW_PRIORITY IGNORE shop_item, (some_view, part_1) SET some_view.a = 1", {"some_view", "part_1"}),
        ("DELETE v FROM some_view v JOIN shop_item", {"some_view"}),
        ("DELETE FROM v USING shop_item, some_view v", {"v", "some_view"}),
        ("RENAME TABLE some_view TO other_view, shop_shop TO s.part_1", {"some_view", "other_view", "s.part_1"}),
        ("UPDATE shop_shop SET a = 1", set()),
        ("CREATE TABLE elsewhere (view int)", set()),
        ("ALTER TABLE IF EXISTS ONLY part_1 DETACH PARTITION part_2", {"part_1"}),
        ("ALTER TABLE some_view RENAME TO other_view", {"some_view", "other_view"}),
        ("ALTER TABLE shop_shop RENAME COLUMN a TO b", set()),
        ("CREATE FUNCTION f() AS $$ SELECT 1 $$; UPDATE some_view SET a = 1", {"some_view"}),
        (
            "CREATE TABLE part_2 PARTITION OF s.part_1 FOR VALUES IN (1); INSERT INTO part_2 VALUES (1)",
            {"s.part_1", "part_2"},
        ),
        ("DROP INDEX some_index", set()),
        ("CREATE", set()),
    ],
)
def test_names_of_no_known_table_that_are_written_are_named(sql: str, expected: set[str]) -> None:
    """Of views, partitions and tables of no model: the database can tell what they stand for."""
    assert expected == statement_of(sql).elsewhere


@in_one_test(
    [
        ("CREATE VIEW some_view AS SELECT 1", True, set()),
        ("ALTER TABLE shop_shop ADD COLUMN a int", True, set()),
        ("UPDATE some_view SET a = 1", False, set()),
        ("DROP VIEW some_view; CREATE VIEW some_view AS SELECT 1", True, set()),
        ("CREATE VIEW some_view AS SELECT 1; UPDATE some_view SET a = 1", True, {"some_view"}),
        ("ALTER TABLE shop_shop ADD COLUMN a int; BEGIN; UPDATE shop_shop SET a = 1; COMMIT", True, {"shop_shop"}),
        ("ALTER VIEW x RENAME TO some_view; UPDATE public.some_view SET a = 1", True, {"public.some_view"}),
        ("CREATE TABLE x (a int); INSERT INTO x VALUES (1); DROP TABLE x", True, set()),
    ],
)
def test_names_that_are_defined_and_then_written_are_named(sql: str, defines: bool, redefined: set[str]) -> None:
    """What they stand for then can't be asked before the text runs."""
    found = statement_of(sql)

    assert (defines, redefined) == (found.defines, found.redefined)


@in_one_test(
    [
        ('UPDATE "shop_shop" SET "last_login" = %s WHERE "shop_shop"."id" = %s', {"last_login"}),
        ('UPDATE "shop_shop" SET "a" = "shop_shop"."b", "C" = f(x, y), d = CASE WHEN e THEN 1 END', {"a", "c", "d"}),
        ("UPDATE shop_shop SET a = b IS DISTINCT FROM c, d = 1 WHERE e = 1, f = 2", {"a", "d"}),
        ("WITH x AS (UPDATE shop_shop SET a = 1) SELECT a, b FROM x", {"a"}),
        ("UPDATE shop_shop SET (a, b) = (1, 2)", None),
        ("UPDATE shop_shop SET shop_shop.a = 1", None),
        ("UPDATE shop_shop, shop_item SET a = 1", None),
        ("UPDATE shop_shop SET a = 1; UPDATE shop_shop SET b = 1", None),
        ("INSERT INTO shop_shop (a) VALUES (1) ON CONFLICT DO UPDATE SET a = 1", None),
    ],
)
def test_columns_are_those_of_a_plain_update(sql: str, expected: set[str] | None) -> None:
    """All columns that an UPDATE of one table sets are named, or none."""
    assert expected == statement_of(sql).columns


@in_one_test(
    [
        ("SELECT 1", "select", ""),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "select", ""),
        ("VALUES (1)", "values", ""),
        ("EXPLAIN SELECT 1", "explain", ""),
        ("INSERT INTO shop_shop VALUES (1)", "insert", ""),
        ("INSERT OR REPLACE INTO shop_shop VALUES (1)", "insert", "replace"),
        ("REPLACE INTO shop_shop VALUES (1)", "replace", "replace"),
        ("UPDATE shop_shop SET a = 1", "update", ""),
        ("UPDATE OR REPLACE shop_shop SET a = 1", "update", "replace"),
        ("DELETE FROM shop_shop", "delete", "delete"),
        ("WITH x AS (DELETE FROM shop_shop) SELECT 1", "delete", "delete"),
        ("WITH x AS (DELETE FROM shop_shop) UPDATE shop_item SET a = 1", "other", "delete"),
        ("MERGE INTO shop_shop USING x ON 1 WHEN MATCHED THEN DO NOTHING", "merge", ""),
        ("MERGE INTO shop_shop USING x ON 1 WHEN MATCHED THEN DELETE", "merge", "delete"),
        ("TRUNCATE shop_shop", "truncate", "truncate"),
        ("DROP TABLE shop_shop", "drop", "delete"),
        ("DELETE FROM shop_shop; TRUNCATE shop_shop", "other", "truncate"),
        ("DELETE FROM shop_shop; DELETE FROM shop_item", "delete", "delete"),
        ("COPY shop_shop FROM STDIN", "copy", ""),
        ("LOAD DATA INFILE 'x' REPLACE INTO TABLE shop_shop", "load", "replace"),
        ("CALL archive()", "call", ""),
        ("PRAGMA foreign_keys", "", ""),
        ("SET x = 1", "", ""),
        ("SET @@autocommit = 1", "set", ""),
        ("LOCK TABLES shop_shop READ", "lock", ""),
        ("IF 1 THEN CALL f(); END IF", "commit", ""),
        # transactions
        ("BEGIN", "begin", ""),
        ("begin immediate", "begin", ""),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "begin", ""),
        ("COMMIT", "commit", ""),
        ("END", "commit", ""),
        ("ROLLBACK", "rollback", ""),
        ("ABORT", "rollback", ""),
        ('ROLLBACK TO SAVEPOINT "x"', "rollback to", ""),
        ("rollback work to x", "rollback to", ""),
        ('SAVEPOINT "x"', "savepoint", ""),
        ('SAVEPOINT "x;y"', "savepoint", ""),
        ('RELEASE SAVEPOINT "x"', "release", ""),
        ("release x", "release", ""),
        ("SET TRANSACTION READ ONLY", "isolation", ""),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "isolation", ""),
        ("SET @@session.transaction_isolation = 'READ-COMMITTED'", "isolation", ""),
        ("BEGIN; UPDATE shop_shop SET a = 1", "begin", ""),
        ("UPDATE shop_shop SET a = 1; COMMIT", "commit", ""),
    ],
)
def test_verb_and_cascades_are_told(sql: str, verb: str, cascades: str) -> None:
    """The verb, those of transactions among them, and what may be deleted besides."""
    found = statement_of(sql)

    assert (verb, cascades) == (found.verb, found.cascades)


# --- what is no str ---


class Text(str):
    """As `SafeString` is."""

    __slots__ = ()


class Interpolation(SimpleNamespace):
    """A value in a template, as those of Python 3.14."""


class Template(tuple[Any, ...]):
    """Strings and values, as a template of Python 3.14 gives them."""

    __slots__ = ()
    __module__ = "string.templatelib"


def value(what: object, format_spec: str = "") -> Interpolation:
    """Return a value of a template."""
    return Interpolation(value=what, format_spec=format_spec)


UPDATE = "UPDATE shop_shop SET a = 1"


@in_one_test(
    [
        Text(UPDATE),
        UPDATE.encode(),
        bytearray(UPDATE.encode()),
        memoryview(UPDATE.encode()),
        psycopg_sql.SQL("UPDATE {} SET {} = {}").format(
            psycopg_sql.Identifier("shop_shop"), psycopg_sql.Identifier("a"), psycopg_sql.Literal("it's DELETE")
        ),
        Template(("UPDATE ", value("shop_shop", "i"), " SET a = ", value(1))),
        Template(("UPDATE ", value(psycopg_sql.Identifier("shop_shop"), "i"), " SET a = ", value("x", "l"))),
        Template(("UPDATE shop_shop SET ", value(Template(("a = ", value("it's DELETE"))), "q"))),
    ],
)
def test_what_a_driver_takes_is_read(sql: object) -> None:
    """Texts, bytes, psycopg's SQL and templates are read alike."""
    found = statement_of(sql)

    assert (SHOP, {"a"}, "update") == (found.writes, found.columns, found.verb)


class Raising:
    """Raises at each question."""

    @property
    def __class__(self) -> Any:
        """Raise."""
        raise RuntimeError

    def as_string(self, _: object) -> str:
        """Raise."""
        raise RuntimeError


@pytest.mark.parametrize(
    "make", [lambda: None, int, object, list, Raising, SimpleNamespace, lambda: Template((value(1, "q"),))]
)
def test_what_is_no_sql_concerns_every_table(make: Callable[[], object]) -> None:
    """An object that no driver is known to take raises nothing, and concerns every table."""
    assert EVERYTHING == statement_of(make())


# --- what is remembered ---


LOCKS = [
    "FOR UPDATE",
    "for  no key\nupdate",
    "FOR KEY SHARE",
    "FOR SHARE OF " + ", ".join(f'"{chr(97 + n) * 60}"' for n in range(20)),
    "FOR/**/UPDATE SKIP LOCKED -- " + "x" * 1000,
    "FOR UPDATE NOWAIT) AND name IN (" + ", ".join("1" * 1000) + ")",
    "LOCK IN SHARE MODE",
]
LOCKLESS = [
    "",
    "LIMIT 'for update'",
    "-- FOR UPDATE",
    "USE KEY FOR ORDER BY (name)",
    "AND x IN (share)",
    'AS "for", update',
]


@pytest.mark.parametrize(
    ("end", "expected"), [*((each, True) for each in LOCKS), *((each, False) for each in LOCKLESS)]
)
def test_query_locks_rows_wherever_it_says_so(end: str, *, expected: bool) -> None:
    """Before any number of names, before a comment and inside parentheses; not in a literal or a comment."""
    assert expected == statement_of(f"SELECT 1 FROM shop_shop {end}").locks


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_lists_of_all_lengths_are_one_text(count: int) -> None:
    """A list of placeholders, and of rows of them, takes one place, and is read as a short one is."""
    placeholders = ", ".join(["%s"] * count)
    rows = ", ".join(["(%s, %s)"] * count)
    columns = ", ".join(f'"{name * 60}" = %s' for name in "abcde")
    texts = [
        f'DELETE FROM "shop_shop" WHERE "shop_shop"."id" IN ({placeholders})' + " " * 300,
        f'INSERT INTO "shop_shop" ("a", "b") VALUES {rows}' + " " * 300,
        f'UPDATE "shop_shop" SET {columns} WHERE "shop_shop"."id" IN ({placeholders})',
    ]
    tables = Parser(NAMES)

    found = [tables.statement_of(text) for text in texts]
    again = [tables.statement_of(text.replace("%s, %s", "%s, %s, %s")) for text in texts[:2]]

    assert [SHOP] * 3 == [each.writes for each in found]
    assert {name * 60 for name in "abcde"} == found[2].columns
    assert again[0] is found[0]
    assert again[1] is found[1]


@pytest.mark.parametrize("name", ["[dbo].[legacy]", "dbo].[legacy", '"dbo"."legacy"', "dbo.legacy", "legacy"])
@pytest.mark.parametrize("in_text", ["[dbo].[legacy]", "[dbo] . [Legacy]", "dbo.legacy", "[legacy]"])
def test_table_is_known_by_the_names_that_projects_on_sql_server_give_it(name: str, in_text: str) -> None:
    """Django has no schemas, so that `db_table` has the brackets that the backend would put around a name."""
    tables = Parser([name])

    read = tables.statement_of(f"SELECT TOP 5 {in_text}.[id] FROM {in_text} WHERE {in_text}.[id] = %s")
    written = tables.statement_of(f"SET NOCOUNT OFF; UPDATE {in_text} SET [a] = %s WHERE {in_text}.[id] = %s")

    assert ({name}, set()) == (read.reads, read.unknown)
    assert ({name}, set()) == (written.writes, written.elsewhere)


def test_text_that_stays_long_is_not_remembered() -> None:
    """Memory is bounded: neither more than so many texts nor enormous ones."""
    text = f'UPDATE "shop_shop" SET "a" = CASE {"WHEN %s THEN 1 " * 1000} END'
    tables = Parser(NAMES)

    assert SHOP == tables.statement_of(text).writes
    assert tables.statement_of(text) is not tables.statement_of(text)
    assert PLACES == tables.parse_cached.cache_info().maxsize
    assert 0 == tables.parse_cached.cache_info().currsize


# Of each, a number of characters that a search from every place for what follows would need minutes for.
LONG: Final = 300_000


@pytest.mark.parametrize("repeated", ["/*", "/*/", "\\'", '"\\', "e'\\'", "/*! '\\''", "$a{}$ "])
def test_long_text_in_which_nothing_is_closed_is_read(repeated: str) -> None:
    """As a literal is of another database's, or content of a page that was put into a text."""
    text = "".join([repeated.format(number) for number in range(LONG // len(repeated))])

    assert SHOP <= statement_of(f"UPDATE shop_shop SET a = 1 {text}").writes


@pytest.mark.parametrize("repeated", ["insert into %s, ", "merge ,", "delete from explain "])
def test_long_text_of_words_that_write_names_what_it_writes(repeated: str) -> None:
    """As such a literal is that is read as code."""
    assert Statement(BOTH, BOTH, "other") == statement_of(f"{repeated * (LONG // len(repeated))} shop_shop shop_item")


# --- properties ---

WORDS_OF_SQL = r"""
select from join into update using only table with as recursive values set where order by group on for lateral apply
insert delete merge replace truncate copy call do explain analyze create drop begin commit to if not end prepared
( ) , ; ' " ` -- /* */ /*! # \ $$ $a$ %s . * = distinct is key or ignore materialized cascade window transaction
shop_shop shop_item "shop_shop" "a", 'it''s' E'\'' order name x archive shop_itemview
"""
WORDS = st.sampled_from([*WORDS_OF_SQL.split(), "\n", " "])
ANYTHING = st.one_of(
    st.text(),
    st.lists(WORDS).map(" ".join),
    st.lists(WORDS).map("".join),
    st.binary(),
    st.none() | st.integers() | st.builds(object) | st.lists(st.text()),
)


@given(ANYTHING)
@example("\ud800")
@example("COPY (")
@example("COPY (" * 1_000)
@example("copy")
@example("update set set")
@example("with")
@example(") from a, b")
def test_nothing_raises(sql: object) -> None:
    """For anything that a cursor is given, an answer comes, of known tables only."""
    found = statement_of(sql)

    assert found.writes | found.reads <= {*NAMES}


# Texts of one statement, in which each word is followed by a space.
STATEMENTS = [
    'SELECT a FROM shop_shop AS s JOIN "shop_item" ON s . id = 1 WHERE a IN ( SELECT b FROM name )',
    "INSERT INTO shop_shop ( a , b ) SELECT a , b FROM shop_item ON CONFLICT DO NOTHING",
    "UPDATE shop_shop SET a = 1 FROM shop_item WHERE b = 2",
    "DELETE FROM shop_shop USING shop_item WHERE a = 1",
    "WITH x AS ( DELETE FROM shop_shop RETURNING a ) SELECT * FROM x , shop_item",
    "MERGE INTO shop_shop AS s USING shop_item ON a = b WHEN MATCHED THEN DELETE",
    "UPDATE shop_shop , shop_item SET a = 1",
    "TRUNCATE shop_shop , shop_item",
]
SPACES = st.sampled_from(
    [" ", "\n", "\t ", "\r\n", " /* it's */ ", ' -- "x\n', " /* FROM name */ ", "\n--x y\n", "/**/ "]
)


@given(st.sampled_from(STATEMENTS), st.data())
def test_case_white_space_and_comments_take_no_table_away(sql: str, data: st.DataObject) -> None:
    """However a text is laid out, all of its tables are found."""
    words = [
        word if word.startswith('"') else data.draw(st.sampled_from([word.lower(), word.upper(), word.title()]))
        for word in sql.split(" ")
    ]
    text = "".join(word + data.draw(SPACES) for word in words)

    plain, found = statement_of(sql), statement_of(text)

    assert plain.writes <= found.writes
    assert plain.reads <= found.reads
    assert not found.everything


LITERAL = st.one_of(
    st.text(alphabet="ab '\"`,;()-*/%$\n"), st.lists(WORDS).map(" ".join), st.sampled_from([*NAMES, *STATEMENTS])
).map(lambda text: text.replace("'", "''").replace("\\", "").replace("#", ""))


@given(st.sampled_from(["SELECT {} FROM shop_shop WHERE a = {}", "UPDATE shop_shop SET a = {} WHERE b = {}"]), LITERAL)
def test_literals_add_no_table(sql: str, literal: str) -> None:
    """Nothing that stands in a literal is a name or a verb."""
    found = PLAIN.statement_of(sql.replace("{}", f"'{literal}'"))

    assert found._replace(columns=None) == PLAIN.statement_of(sql.replace("{}", "'x'"))._replace(columns=None)


@given(st.sampled_from(STATEMENTS), LITERAL)
def test_second_statement_takes_nothing_away(sql: str, literal: str) -> None:
    """What stands before or behind another statement counts."""
    for text in (f"{sql}; SELECT '{literal}'", f"SELECT '{literal}'; {sql}"):
        found = statement_of(text)
        assert statement_of(sql).writes <= found.writes
        assert statement_of(sql).reads <= found.reads


def test_unquoted_name_has_letters_digits_and_all_above_ascii() -> None:
    """Beside "_" and "$": no other character of ASCII is a part of a word, and each one above is."""
    characters = [*map(chr, range(0x180)), "\u2003", "\u540d", "\uffff", "\U0001f600", "\U0010ffff"]

    found = [each for each in characters if sql_tokens._WORDS.fullmatch(each)]

    assert [each for each in characters if not each.isascii() or each.isalnum() or each in "_$"] == found
