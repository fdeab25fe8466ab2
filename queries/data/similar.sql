-- question: Which training examples are most like an example: by their datamodels, and by their pixels?
-- paper: Ilyas et al. 2022 section 4 (similar examples); a datamodel as an embedding: section 5
-- tables: weights, examples, neighbours, studies (through the macro leading_fits: lake/macros/)
-- param: target_id integer 0..2147483647 : position of the example in its split
-- param: split test|train = test : which split it is in
-- param: by reliance|reach = reliance : alike in what they rely on (their own datamodels), or in the test targets that they move (train only)
-- param: k integer 1..1000000 = 10 : how many of each kind
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: cosine double : of the angle between the two vectors of weights: 1 for the same direction; NULL where either has none
-- column: rank bigint : 1 is the most alike by cosine; NULL beyond k
-- column: pixel_rank integer : 1 is the nearest by pixels; NULL beyond k or beyond those in the table neighbours
-- column: distance float : between the images, as in the table neighbours
-- column: label integer : class of the training example
-- column: target_label integer : class of the example
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: fingerprint text : fingerprint of the study
-- rows: a training example that is among the k most alike by datamodel or by pixels
with chosen as (
    select study_id, fit
    from leading_fits($study, if($by = 'reach', 'test', 'train'), $fit)
),
vectors as (
    select study_id, fit, split, if($by = 'reach', train_id, target_id) as example_id, if($by = 'reach', target_id, train_id) as axis,
           weight::double as weight
    from weights join chosen using (study_id, fit)
    where split = if($by = 'reach', 'test', 'train') or (split = $split and target_id = $target_id)
),
asked as (
    select study_id, fit, axis, weight as asked_weight, sum(weight ** 2) over (partition by study_id, fit) as square
    from vectors
    where example_id = $target_id and if($by = 'reach', $split = 'train' and split = 'test', split = $split)
),
cosines as (
    select study_id, fit, example_id as train_id, sum(weight * asked_weight) / sqrt(nullif(max(square) * sum(weight ** 2), 0)) as cosine
    from vectors left join asked using (study_id, fit, axis)
    where split = if($by = 'reach', 'test', 'train') and not ($split = 'train' and example_id = $target_id)
    group by study_id, fit, example_id
),
ranked as (
    select study_id, fit, train_id, cosine, row_number() over (partition by study_id, fit order by cosine desc, train_id) as rank
    from cosines
    where cosine is not null
),
by_pixels as (
    select study_id, fit, train_id, rank as pixel_rank, distance
    from neighbours join studies using (dataset_id) left join chosen using (study_id)
    where split = $split and example_id = $target_id and rank <= $k and ($study is null or study_id = $study)
)
select train_id, cosine, if(rank <= $k, rank, null) as rank, pixel_rank, distance, own.label, target.label as target_label, study_id, fit, fingerprint
from ranked full join by_pixels using (study_id, fit, train_id)
join studies using (study_id)
left join examples as own on own.dataset_id = studies.dataset_id and own.split = 'train' and own.example_id = train_id
left join examples as target on target.dataset_id = studies.dataset_id and target.split = $split and target.example_id = $target_id
where rank <= $k or pixel_rank <= $k
order by study_id, fit, rank nulls last, pixel_rank, train_id
