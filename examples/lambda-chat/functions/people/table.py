"""The chat's table: items by two keys, `pk` and `sk`.

In:  `TABLE`, the name of a DynamoDB table with these keys (both text), or `TABLE_FILE`, a file of
     SQLite for where there is none. `../messages/table.mjs` reads and writes the same.
Out: `open_table()`, with the few operations that the functions need.

Holds always: what was written is read by whoever reads next, in either language; of two who write
the same new item, one is told that they were late.

| pk           | sk                | item                       |
|--------------|-------------------|----------------------------|
| here         | connection id     | person, name, room, at     |
| rooms        | room              | log                        |
| said#<room>  | number, 12 digits | seq, at, person, name, text, ref |
"""

import json
import os
import sqlite3


def open_table():
    if name := os.environ.get("TABLE"):
        return DynamoTable(name)
    if path := os.environ.get("TABLE_FILE"):
        return FileTable(path)
    raise RuntimeError("TABLE must name a DynamoDB table, or TABLE_FILE a file")


class DynamoTable:
    def __init__(self, name):
        import boto3

        self._table = boto3.resource("dynamodb").Table(name)

    def get(self, pk, sk):
        answer = self._table.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True)
        return _plain(answer.get("Item"))

    def put_new(self, item):
        """False: there is one already."""
        return self._put(item, "attribute_not_exists(pk)")

    def replace(self, item):
        """False: there is none any more."""
        return self._put(item, "attribute_exists(pk)")

    def _put(self, item, condition):
        try:
            self._table.put_item(Item=item, ConditionExpression=condition)
            return True
        except self._table.meta.client.exceptions.ConditionalCheckFailedException:
            return False

    def delete(self, pk, sk):
        """The item that was there, or None."""
        answer = self._table.delete_item(Key={"pk": pk, "sk": sk}, ReturnValues="ALL_OLD")
        return _plain(answer.get("Attributes"))

    def query(self, pk, after=None, limit=None, newest_first=False):
        from boto3.dynamodb.conditions import Key

        condition = Key("pk").eq(pk)
        if after is not None:
            condition &= Key("sk").gt(after)
        ask = {"KeyConditionExpression": condition, "ConsistentRead": True}
        if newest_first:
            ask["ScanIndexForward"] = False
        items = []
        while limit is None or len(items) < limit:
            if limit is not None:
                ask["Limit"] = limit - len(items)
            answer = self._table.query(**ask)
            items += [_plain(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            ask["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return items


def _plain(item):
    """DynamoDB's numbers are decimals; the chat's are whole."""
    is_text = (str, bool, type(None))
    return item and {k: v if isinstance(v, is_text) else int(v) for k, v in item.items()}


class FileTable:
    def __init__(self, path):
        # Each statement is a transaction; who finds the file locked waits.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS items"
            " (pk TEXT, sk TEXT, item TEXT NOT NULL, PRIMARY KEY (pk, sk)) WITHOUT ROWID"
        )

    def get(self, pk, sk):
        return self._one("SELECT item FROM items WHERE pk = ? AND sk = ?", pk, sk)

    def put_new(self, item):
        """False: there is one already."""
        sql = "INSERT INTO items VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        return self._db.execute(sql, (item["pk"], item["sk"], json.dumps(item))).rowcount == 1

    def replace(self, item):
        """False: there is none any more."""
        sql = "UPDATE items SET item = ? WHERE pk = ? AND sk = ?"
        return self._db.execute(sql, (json.dumps(item), item["pk"], item["sk"])).rowcount == 1

    def delete(self, pk, sk):
        """The item that was there, or None."""
        return self._one("DELETE FROM items WHERE pk = ? AND sk = ? RETURNING item", pk, sk)

    def query(self, pk, after=None, limit=None, newest_first=False):
        order = "DESC" if newest_first else "ASC"
        sql = f"SELECT item FROM items WHERE pk = ? AND sk > ? ORDER BY sk {order} LIMIT ?"
        rows = self._db.execute(sql, (pk, after or "", -1 if limit is None else limit))
        return [json.loads(item) for (item,) in rows.fetchall()]

    def _one(self, sql, *keys):
        # All rows are fetched: only then is the statement, and with it the transaction, over.
        rows = self._db.execute(sql, keys).fetchall()
        return json.loads(rows[0][0]) if rows else None
