-- question: Which masks have not one bit for each training example, or a bit set beyond the last?
-- source: lake/tables.py: packed bits, first example in the highest bit, zeros at the end
-- tables: masks, examples, studies
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: role text : role of the mask
-- column: mask_id integer : position of the mask in its role
-- column: n_bytes bigint [B] : length of the mask
-- column: expected bigint [B] : length that n_train needs
-- rows: a mask that fails
with datasets as (
    select dataset_id, count(*) as n_train, (count(*) + 7) // 8 as expected
    from examples
    where split = 'train'
    group by dataset_id
)
select study_id, role, mask_id, octet_length(mask) as n_bytes, expected
from masks join studies using (study_id) join datasets using (dataset_id)
where ($study is null or study_id = $study)
    and (n_bytes <> expected or list_sum(list_transform(range(n_train, 8 * n_bytes), lambda i: get_bit(mask::bit, i::integer))) > 0)
order by study_id, role, mask_id
