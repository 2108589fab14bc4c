-- Takes the lane's row lock, so that nothing else of the office is recorded until the transaction ends. in: office.
select from lane where office_id = %(office)s for update
