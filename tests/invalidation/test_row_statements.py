"""Texts of Django's about rows of one table are read to the end; each other text is none of these."""

import pytest

from cachedeco.invalidation.row_statements import LONGEST_REMEMBERED, UNKNOWN, RowStatement, row_statement_of
from tests.support.cases import in_one_test

READ = {
    'INSERT INTO "t" ("a", "b") VALUES (%s, %s), (%s, %s) RETURNING "t"."id"': RowStatement(
        "insert", "t", 4, ("a", "b"), ((0, 1), (2, 3)), returned="id"
    ),
    'INSERT INTO "t" ("a", "b") VALUES (%s, NULL), (COALESCE(%s, "t"."b"), %s)': RowStatement(
        "insert", "t", 3, ("a", "b"), ((0, None), (UNKNOWN, 2))
    ),
    'INSERT OR IGNORE INTO "t" ("a") VALUES (%s)': RowStatement("insert", "t", 1, ("a",), ((0,),)),
    'INSERT INTO "t" ("a") VALUES (DEFAULT) ON CONFLICT DO NOTHING RETURNING "id", "a"': RowStatement(
        "insert", "t", 0, ("a",), ((UNKNOWN,),), returned="id"
    ),
    'INSERT INTO "t" ("a", "b") SELECT * FROM UNNEST((%s)::integer[], (%s)::varchar(10)[])': RowStatement(
        "insert", "t", 2, ("a", "b"), ((0, 1),), is_of_lists=True
    ),
    "UPDATE `t` SET `a` = %s, `b` = (`t`.`b` + %s), `c` = NULL WHERE `t`.`id` = %s": RowStatement(
        "update", "t", 3, ("a", "b", "c"), ((0, UNKNOWN, None),), key="id", keys=range(2, 3)
    ),
    'UPDATE "t" SET "a" = (SELECT x FROM y WHERE z = %s) WHERE "t"."id" = %s RETURNING "t"."a"': RowStatement(
        "update", "t", 2, ("a",), ((UNKNOWN,),), key="id", keys=range(1, 2)
    ),
    'DELETE FROM "t" WHERE "t"."id" IN (%s, %s)': RowStatement("delete", "t", 2, key="id", keys=range(2)),
    'DELETE FROM "t" WHERE "t"."id" = %s': RowStatement("delete", "t", 1, key="id", keys=range(1)),
}


@pytest.mark.parametrize(("sql", "expected"), READ.items(), ids=READ)
def test_form_of_django_is_read(sql: str, expected: RowStatement) -> None:
    """Each column has the position of its parameter, or none; what the text computes is unknown."""
    assert expected == row_statement_of(sql)


@in_one_test(
    [
        'SELECT "t"."a" FROM "t"',
        'INSERT INTO "t" ("a") SELECT "b" FROM "u"',
        'INSERT INTO "t" ("a") VALUES (%s) ON CONFLICT ("a") DO UPDATE SET "a" = EXCLUDED."a"',
        'INSERT INTO "t" ("a") VALUES (%s) ON CONFLICT ("a") DO UPDATE SET ("a") = (%s)',
        'INSERT INTO "t" ("a") VALUES (%s), (%s) ON CONFLICT ("a") DO UPDATE SET ("a") = (%s)',
        "INSERT IGNORE INTO `t` (`a`) VALUES (%s)",
        'INSERT OR REPLACE INTO "t" ("a") VALUES (%s)',
        'INSERT INTO "t" ("a", "b") VALUES (%s)',
        'INSERT INTO "t" ("a") VALUES (%s), ROW(%s)',
        'INSERT INTO "t" ("a") VALUES (%s))(%s)',
        'INSERT INTO "t" ("a") SELECT * FROM UNNEST(%s)',
        'INSERT INTO "s"."t" ("a") VALUES (%s)',
        "INSERT INTO t (a) VALUES (%s)",
        'UPDATE "t" SET "a" = %s',
        'UPDATE "t" SET "a" = %s WHERE "t"."b" = %s OR "t"."id" = %s',
        'UPDATE "t" SET "a" = %s WHERE ("t"."b" = %s AND "t"."id" = %s)',
        'UPDATE "t" SET "a" = %s FROM "u" WHERE "t"."id" = %s',
        'UPDATE "t" SET "a" = "u"."a" WHERE "u"."id" = %s',
        'UPDATE "t" SET ("a", "b") = (%s, %s) WHERE "t"."id" = %s',
        'UPDATE "t" SET "a" = (%s WHERE "t"."id" = %s',
        'DELETE FROM "t" WHERE "u"."id" = %s',
        'DELETE FROM "t" WHERE "t"."id" IN (SELECT "id" FROM "u")',
        'DELETE FROM "t" WHERE "t"."id" = %s -- all',
        'DELETE FROM "t" WHERE "t"."id" = %(pk)s',
        'DELETE FROM "t" WHERE "t"."id" = \'%s\'',
    ]
)
def test_other_text_is_not_read(sql: str) -> None:
    """A text that is not known from end to end may write any row."""
    assert row_statement_of(sql) is None


def test_long_list_of_rows_is_read_and_not_remembered() -> None:
    """Texts of many rows would fill the memory: each has another length."""
    count = LONGEST_REMEMBERED
    rows = ", ".join(["(%s, %s)"] * count)

    statement = row_statement_of('INSERT INTO "t" ("a", "b") VALUES (%s)'.replace("(%s)", rows))

    assert statement is not None
    assert (count, (2 * count - 2, 2 * count - 1)) == (len(statement.rows), statement.rows[-1])
