-- macro: duplicate_pairs(of_study, within)
-- rows: a training example that is an exact or near copy of another: of an earlier one of the training split, or of one of the test split;
-- `distance` is a share of the median distance from a training image to its nearest
with typical as (
    select dataset_id, median(distance) as nearest
    from neighbours
    where split = 'train' and rank = 1
    group by dataset_id
),
near_pairs as (
    select dataset_id, split as other_split, if(split = 'test', train_id, greatest(train_id, example_id)) as train_id,
           if(split = 'test', example_id, least(train_id, example_id)) as other_id, min(distance) as distance
    from neighbours
    group by all
),
exact_pairs as (
    select later.dataset_id, other.split as other_split, later.example_id as train_id, other.example_id as other_id
    from examples as later join examples as other using (dataset_id, image_sha256)
    where later.split = 'train' and (other.split = 'test' or other.example_id < later.example_id)
),
pairs as (
    select dataset_id, other_split, train_id, other_id, true as exact, 0.0::double as distance
    from exact_pairs
    union all
    select dataset_id, other_split, train_id, other_id, false as exact, distance / nullif(nearest, 0) as distance
    from near_pairs join typical using (dataset_id) anti join exact_pairs using (dataset_id, other_split, train_id, other_id)
    where distance <= within * nearest
)
select study_id, dataset_id, fingerprint, train_id, other_split, other_id, exact, distance
from studies join pairs using (dataset_id)
where of_study is null or study_id = of_study
