SELECT count(*), sum(seconds) FROM call_logs
SELECT count(*), min(phone) FROM leads
SELECT count(*) FROM recent_calls
SELECT c.name, count(l.lead_id) FROM campaigns c LEFT JOIN campaign_leads l ON l.campaign_id = c.id GROUP BY c.id
SELECT e.number, count(*) FROM embeddings e JOIN knowledge_base_chunks k USING (document_id, number) GROUP BY 1
SELECT count(*) FROM voicemail_audit_log
SELECT number FROM user_phone_numbers
SELECT count(*) FROM payments
SELECT name, status FROM organizations
UPDATE leads SET name = 'x' WHERE phone = '+11' RETURNING id
DELETE FROM call_logs WHERE seconds < 10 RETURNING id
