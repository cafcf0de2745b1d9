// Whether standard input is a SARIF log by the schema of SARIF 2.1.0 (OASIS), as Microsoft's SARIF SDK
// for JavaScript ships it. What it says against it goes to standard output.
'use strict';
const path = require('node:path');
const { readFileSync } = require('node:fs');
const installed = (name) => require(path.join(process.env.NODE_MODULES, name));

const Ajv = installed('ajv');
const ajv = new Ajv({ schemaId: 'auto', meta: false, allErrors: true, format: 'full' });
ajv.addMetaSchema(installed('ajv/lib/refs/json-schema-draft-04.json'));
const validate = ajv.compile(installed('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json'));
if (!validate(JSON.parse(readFileSync(0, 'utf8')))) {
  for (const { dataPath, message } of validate.errors) console.log(`${dataPath} ${message}`);
  process.exit(1);
}
