-- One row an order, with what was known when it was placed. (AT is a word of DuckDB's.)
WITH known_rates AS (SELECT "at" AS rate_known_at, currency, rate FROM rates)
SELECT
    orders.ordered_at AS event_time,
    orders.order_id,
    orders.currency,
    orders.amount / known_rates.rate AS amount_eur,
    known_rates.rate_known_at,
    (
        SELECT count(*) FROM visits
        WHERE visits.customer = orders.customer
            AND visits."at" < orders.ordered_at
            AND visits."at" >= orders.ordered_at - INTERVAL 1 DAY
    ) AS visits_last_day
FROM orders
ASOF LEFT JOIN known_rates
    ON known_rates.currency = orders.currency
    AND known_rates.rate_known_at <= orders.ordered_at
