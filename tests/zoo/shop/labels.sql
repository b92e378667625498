SELECT ordered_at AS event_time, order_id, returned AS sent_back FROM orders
