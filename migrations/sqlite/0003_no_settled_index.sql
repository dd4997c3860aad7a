-- Old rows are found in the order of their ids: an index less is written with each verdict.

DROP INDEX delivery_settled;
