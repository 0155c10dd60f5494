// The chat's table, as `../people/table.py` describes it: the same items, the same two places.
//
// In:  TABLE, the name of a DynamoDB table, or TABLE_FILE, a file of SQLite.
// Out: `openTable()`, with the operations that what is said needs.

/** A table in DynamoDB, or in a file where there is none. */
export async function openTable() {
  const { TABLE, TABLE_FILE } = process.env;
  if (TABLE) return dynamoTable(TABLE);
  if (TABLE_FILE) return fileTable(TABLE_FILE);
  throw new Error("TABLE must name a DynamoDB table, or TABLE_FILE a file");
}

async function dynamoTable(TableName) {
  const { DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
  const lib = await import("@aws-sdk/lib-dynamodb");
  const client = lib.DynamoDBDocumentClient.from(new DynamoDBClient({}));
  return {
    async get(pk, sk) {
      const { Item } = await client.send(new lib.GetCommand({ TableName, Key: { pk, sk }, ConsistentRead: true }));
      return Item;
    },

    /** False: there is one already. */
    async putNew(item) {
      try {
        await client.send(new lib.PutCommand({ TableName, Item: item, ConditionExpression: "attribute_not_exists(pk)" }));
        return true;
      } catch (error) {
        if (error.name === "ConditionalCheckFailedException") return false;
        throw error;
      }
    },

    async delete(pk, sk) {
      await client.send(new lib.DeleteCommand({ TableName, Key: { pk, sk } }));
    },

    async query(pk, { newest = Infinity } = {}) {
      const items = [];
      let start;
      do {
        const page = await client.send(new lib.QueryCommand({
          TableName, ConsistentRead: true, ExclusiveStartKey: start,
          KeyConditionExpression: "pk = :pk", ExpressionAttributeValues: { ":pk": pk },
          ...(Number.isFinite(newest) && { ScanIndexForward: false, Limit: newest - items.length }),
        }));
        items.push(...page.Items);
        start = page.LastEvaluatedKey;
      } while (start && items.length < newest);
      return items;
    },
  };
}

async function fileTable(path) {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS items
      (pk TEXT, sk TEXT, item TEXT NOT NULL, PRIMARY KEY (pk, sk)) WITHOUT ROWID`);
  const statements = {
    get: db.prepare("SELECT item FROM items WHERE pk = ? AND sk = ?"),
    putNew: db.prepare("INSERT INTO items VALUES (?, ?, ?) ON CONFLICT DO NOTHING"),
    delete: db.prepare("DELETE FROM items WHERE pk = ? AND sk = ?"),
    all: db.prepare("SELECT item FROM items WHERE pk = ? ORDER BY sk"),
    newest: db.prepare("SELECT item FROM items WHERE pk = ? ORDER BY sk DESC LIMIT ?"),
  };
  return {
    async get(pk, sk) {
      const row = statements.get.get(pk, sk);
      return row && JSON.parse(row.item);
    },

    async putNew(item) {
      return statements.putNew.run(item.pk, item.sk, JSON.stringify(item)).changes === 1;
    },

    async delete(pk, sk) {
      statements.delete.run(pk, sk);
    },

    async query(pk, { newest = Infinity } = {}) {
      const rows = Number.isFinite(newest) ? statements.newest.all(pk, newest) : statements.all.all(pk);
      return rows.map((row) => JSON.parse(row.item));
    },
  };
}
